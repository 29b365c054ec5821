package process

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// Command is what to start, and where.
type Command struct {
	Node    string            // the node that runs it
	Profile string            // one of its profiles
	Args    map[string]string // the values of {NAME} in the profile's Argv
	Words   []string          // the words of {...}
	Env     map[string]string // variables that the profile accepts
	NoStdin bool              // its stdin is empty
}

// Exit is how a process has ended.
type Exit struct {
	Code   int           `json:"code"`             // the exit code; 128+N when signal N killed it
	Signal int           `json:"signal,omitempty"` // N, or 0
	Why    string        `json:"why,omitempty"`    // the node ended it, and for what reason
	Took   time.Duration `json:"took_ns"`          // from its start
}

// String is for people.
func (e Exit) String() string {
	text := "exit " + strconv.Itoa(e.Code)
	if e.Signal != 0 {
		text = syscall.Signal(e.Signal).String() + " (signal " + strconv.Itoa(e.Signal) + ")"
	}
	if e.Why != "" {
		text += ": " + e.Why
	}
	return text
}

// Process is a process of a node of the cluster, this one included: its stdin, its output,
// its signals and its end. Start makes one; close it when its end was not waited for. Any
// goroutine.
type Process struct {
	node   *cluster.Node
	loop   loopnode.Ref // of the node that runs it, in the life that started it
	target string       // NODE/PROFILE/NUMBER, for errors
	call   string       // the function of the profile
	id     uint64
	key    string // tells this handle from others of this node for the same process
	pid    int
	missed [2]uint64
	stdin  *cluster.RemoteTransport // nil: it has none
	out    [2]*Output
	noIn   error // why it has no stdin

	done chan struct{} // closed by follow
	exit *Exit         // set before done is closed; nil: nobody knows
	err  error         // set before done is closed

	mu      sync.Mutex
	closing string             // the operation to give it up with, "" while it is not
	wake    context.CancelFunc // ends the wait that follow is in
}

// Start starts a command of a profile on a node and returns when it runs. It suspends the
// task ctx belongs to, or blocks the goroutine; ctx bounds the start only. The process runs
// until it ends, the handle is closed, or its node ends it: when this node dies or leaves,
// that is by the profile's Orphan. A start whose answer got lost is found out there within
// half a minute and treated the same way. Errors: ErrUnknownProfile, ErrArguments,
// ErrTooMany, ErrNotStarted, ErrNoGroup, cluster.ErrRefused (no right spawn:PROFILE there), and those
// of cluster.Function.Call; after ErrExpired, ErrNodeDown and ErrDisconnected it may have
// been started.
func Start(ctx context.Context, n *cluster.Node, c Command) (*Process, error) {
	q := request{Op: opStart, Args: c.Args, Words: c.Words, Env: c.Env, NoStdin: c.NoStdin}
	return open(ctx, n, c.Node, c.Profile, q)
}

// Attach takes a process that is kept (Profile.Orphan is Keep) and that nobody has, by the
// number that its Process.ID was: first what is kept of its output comes, then what it
// writes from now on; Missed says how much came before. It has no stdin. One that has ended
// gives its output and its Exit. Errors as of Start, and ErrUnknownProcess;
// cluster.ErrBusy: somebody has it.
func Attach(ctx context.Context, n *cluster.Node, node, profile string, id uint64) (*Process, error) {
	return open(ctx, n, node, profile, request{Op: opAttach, ID: id, NoStdin: true})
}

// What can go wrong between the two nodes, and who finds out. The streams cannot be opened,
// since the owner is gone: nothing is started. The answer is lost, or the owner's ctx ends
// just then: nobody asks for the child, and its lease ends it. The stream to stdin cannot be
// opened: the owner closes the process it has just started. The child has ended by then:
// that is no mistake, and its status waits to be asked for.
//
// open begins a Process with q: the outputs are expected first, because the node of the
// process opens their streams before it answers.
func open(ctx context.Context, n *cluster.Node, node, profile string, q request) (*Process, error) {
	if ctx == nil || n == nil {
		return nil, fault.Config("a process needs a ctx and a node, not nil")
	}
	loop, err := n.Ref(node + "/" + LoopName)
	if err != nil {
		return nil, noProfile(node, profile, err)
	}
	p := &Process{node: n, loop: loop, target: node + "/" + profile, call: registry.SpawnPrefix + profile, done: make(chan struct{}), wake: func() {}}
	p.key = rand.Text()
	q.Key = p.key
	parts := n.Inside(inside.Key{})
	for i := range p.out {
		p.out[i] = &Output{&inlet{}}
		stop, err := parts.Expect(outputPath(q.Key, i+1), node, p.out[i].in)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	a, err := p.ask(ctx, q)
	if err != nil {
		p.closeOutput()
		return nil, noProfile(node, profile, err)
	}
	p.id, p.pid, p.missed = a.ID, a.PID, a.Missed
	p.target += "/" + strconv.FormatUint(a.ID, 10)
	if err := p.reach(ctx, a); err != nil {
		p.closeOutput()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_, _ = p.ask(ctx, request{Op: opClose, ID: p.id}) // otherwise its node finds out that nobody asks for it
		return nil, fmt.Errorf("%s: %w", p.target, err)
	}
	// goroutine: owner: the Process; ends when the process and its outputs have, or nobody can tell any more
	go p.follow()
	return p, nil
}

// noProfile says in the words of this package that a node has no such profile: then it may
// have no loop for children, or its program knows no such function. How it was found out is
// nothing to the caller, and lists of loops and functions would only lead away from it.
func noProfile(node, profile string, err error) error {
	if errors.Is(err, cluster.ErrUnknownLoop) || errors.Is(err, cluster.ErrUnknownFunction) {
		return notOffered(node, profile)
	}
	return err
}

// Why one goroutine for each Process, and not only a Wait that asks? Somebody has to tell the
// other node that the owner lives, and the readers of the output that nothing will come any
// more, also while the program does neither Wait nor Read. It holds one call at a time, which
// the other node answers after ten seconds, or when there is something to say: a process that
// runs for a day costs some thousand calls, and one that ends is heard of at once.
//
// Times of a Process.
const (
	askTime   = pollTime + 10*time.Second // an answer that has not come by then is lost: ask again
	againTime = 100 * time.Millisecond    // between two questions that could not be asked
	closeTime = 2 * time.Second
	// pollOutput is how often the node of a process that has ended is asked while its output
	// has not.
	pollOutput = 500 * time.Millisecond
)

// reach ties the handle to this life of the node, so that a later one is not asked for a
// process of the same number, and opens the stream to stdin.
func (p *Process) reach(ctx context.Context, a answer) (err error) {
	at := actors.Address{Node: p.loop.Address().Node, Incarnation: a.Life, Path: LoopName}
	if p.loop, err = p.node.RefTo(at); err != nil {
		return err
	}
	p.noIn = fmt.Errorf("%s has no stdin: %w", p.target, transportactors.ErrClosed)
	if a.Stdin == "" {
		return nil
	}
	at.Path = a.Stdin
	p.stdin, err = p.node.Inside(inside.Key{}).Open(ctx, at)
	if errors.Is(err, cluster.ErrUnknownTransport) { // it has ended by now, or has closed its stdin
		p.noIn, err = fmt.Errorf("%s reads no more: %w", p.target, transportactors.ErrClosed), nil
	}
	return err
}

// ask calls the function of the profile.
func (p *Process) ask(ctx context.Context, q request) (a answer, err error) {
	in, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	out, err := p.node.CallJSON(ctx, p.loop, p.call, in)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(out, &a); err != nil {
		return a, fmt.Errorf("%w: the answer of %s: %w", cluster.ErrBadPayload, p.target, err)
	}
	return a, nil
}

// follow asks how the process has ended until it has, and tells that its owner lives by
// asking. What passes (no connection, a lost answer) is asked again. It ends with an error
// when the node of the process is gone, or this one is closed: then the outputs end, too.
func (p *Process) follow() {
	told := false
	for {
		ctx, closing := p.round()
		q := request{Op: opWait, ID: p.id, Key: p.key}
		if closing != "" && !told {
			q.Op = closing
		}
		a, err := p.ask(ctx, q)
		woken := context.Cause(ctx) == errWoken //nolint:errorlint // this very one
		p.endRound()
		switch {
		case err == nil && q.Op == opDetach:
			why := ErrEnded
			if a.Kept {
				why = cluster.ErrClosed
			}
			p.lost(fmt.Errorf("%w: it was let go", why))
			return
		case err == nil && q.Op == opClose:
			told = true
		case err == nil && a.Exit != nil:
			if p.ended(a) {
				return
			}
			p.rest(pollOutput)
		case err != nil && p.alone():
			p.lost(fmt.Errorf("%w: this node has been closed", cluster.ErrClosed))
			return
		case err == nil, woken:
		case passes(err):
			p.rest(againTime)
		default:
			p.lost(err)
			return
		}
	}
}

// ended notes how the process has ended, and reports whether its outputs have, too. Why it
// is asked again when they have not: the other node may have given this one up, and the rest
// of the output with it, when the connection was cut. Then nobody else would tell.
func (p *Process) ended(a answer) bool {
	if p.exit == nil {
		p.exit = a.Exit
		if a.Exit.Why != "" {
			p.err = fmt.Errorf("%s: %w: %s", p.target, ErrEnded, a.Exit.Why)
		}
		p.over()
	}
	all := true
	for i, o := range p.out {
		if a.Cut[i] {
			_ = o.in.Fail(fmt.Errorf("%s: the rest of its output: %w", p.target, cluster.ErrLost))
		}
		all = all && o.in.over()
	}
	return all
}

// lost is when nobody can tell any more: the outputs end, and so does Wait if it still
// waits.
func (p *Process) lost(why error) {
	for _, o := range p.out {
		_ = o.in.Fail(fmt.Errorf("%s: the rest of its output: %w", p.target, why))
	}
	if p.exit == nil {
		p.err = fmt.Errorf("%s: nobody knows how it ended: %w", p.target, why)
		p.over()
	}
}

// alone reports whether this node has been closed.
func (p *Process) alone() bool {
	select {
	case <-p.node.Done():
		return true
	default:
		return false
	}
}

// rest waits between two questions, until this node is closed.
func (p *Process) rest(d time.Duration) {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-p.node.Done():
	}
}

// errWoken ends a round that Close interrupts.
var errWoken = errors.New("woken")

// round is the ctx of the next question.
func (p *Process) round() (ctx context.Context, closing string) {
	limited, cancel := context.WithTimeout(context.Background(), askTime)
	ctx, wake := context.WithCancelCause(limited)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake = func() { wake(errWoken); cancel() }
	return ctx, p.closing
}

func (p *Process) endRound() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake()
	p.wake = func() {}
}

// passes reports whether a question may be asked again: the node may still be there.
func passes(err error) bool {
	for _, kind := range []error{cluster.ErrDisconnected, cluster.ErrExpired, cluster.ErrBusy, cluster.ErrNoCredit, cluster.ErrFenced, cluster.ErrCancelled, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// over lets those go who wait for the end.
func (p *Process) over() {
	if p.stdin != nil {
		p.stdin.Abort()
	}
	close(p.done)
}

func (p *Process) closeOutput() {
	for _, o := range p.out {
		if o != nil {
			o.Close()
		}
	}
}

// ID is its number, for Attach: unique in this life of its node.
func (p *Process) ID() uint64 { return p.id }

// PID is its number on its machine.
func (p *Process) PID() int { return p.pid }

// String is NODE/PROFILE/ID.
func (p *Process) String() string { return p.target }

// Stdout is what it writes to descriptor 1.
func (p *Process) Stdout() *Output { return p.out[0] }

// Stderr is what it writes to descriptor 2.
func (p *Process) Stderr() *Output { return p.out[1] }

// Missed is how many bytes of stdout and stderr came before the first that this handle
// reads; 0 but for Attach.
func (p *Process) Missed() (stdout, stderr uint64) { return p.missed[0], p.missed[1] }

// Write writes to its stdin, and waits while it does not read: it suspends the task ctx
// belongs to, or blocks the goroutine, until ctx ends; then a part of b may be on its way,
// and the rest follows. At most 1 MiB is under way. nil means that it is: the process may end
// without reading it. Errors: transportactors.ErrClosed when it reads no more, and what
// ended the stream.
func (p *Process) Write(ctx context.Context, b []byte) error {
	if p.stdin == nil {
		return p.noIn
	}
	return p.stdin.WriteWait(ctx, b)
}

// CloseStdin ends its stdin behind what was written. It does not wait.
func (p *Process) CloseStdin() {
	if p.stdin != nil {
		p.stdin.Close()
	}
}

// Signal sends a signal to the process and to what it has started (its process group), as a
// terminal does, and waits for its node to have done so. Errors: ErrUnknownProcess when it
// has ended, ErrArguments for a number that is no signal, and those of
// cluster.Function.Call.
func (p *Process) Signal(ctx context.Context, sig syscall.Signal) error {
	if ctx == nil {
		return fault.Config("Signal needs a ctx, not nil")
	}
	_, err := p.ask(ctx, request{Op: opSignal, ID: p.id, Signal: int(sig)})
	return err
}

// Wait waits until the process has ended, as long as ctx allows: it suspends the task ctx
// belongs to, or blocks the goroutine. Its output may still have to be read. The error is
// nil for every end of its own, whatever the code or the signal. ErrEnded: its node ended
// it; Exit is known all the same. cluster.ErrNodeDown, cluster.ErrDeadIncarnation,
// cluster.ErrClosed (this node was closed), ErrUnknownProcess: nobody knows how it ended.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	if ctx == nil {
		return Exit{}, fault.Config("Wait needs a ctx, not nil")
	}
	return wait.Do(ctx, func(ctx context.Context) (Exit, error) {
		select {
		case <-p.done:
		case <-ctx.Done():
			return Exit{}, context.Cause(ctx)
		}
		if p.exit == nil {
			return Exit{}, p.err
		}
		return *p.exit, p.err
	})
}

// Done is closed when Wait would return.
func (p *Process) Done() <-chan struct{} { return p.done }

// Three ways to let go of a process that runs. Close ends it, whatever its profile says: the
// program does not want it any more. Detach leaves that to the profile, as the death of this
// node would. And a handle that is just forgotten goes on asking for the process, which lives
// as long as this node does: there is no finalizer that would end it at a time of its own.
//
// Close drops the output and has the process ended: SIGTERM to its group, and SIGKILL after
// the grace of its profile. It does not wait; Wait does. One that has ended is let go.
func (p *Process) Close() { p.giveUp(opClose) }

// Detach lets the process go as if this node were gone: by the Orphan of its profile it
// runs on, for Attach, or is ended. It does not wait. Wait ends when that is done, with
// cluster.ErrClosed when it runs on and ErrEnded when it does not; Exit is then not known.
func (p *Process) Detach() { p.giveUp(opDetach) }

// giveUp drops the output and has follow carry op out. The first one counts.
func (p *Process) giveUp(op string) {
	p.closeOutput()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing == "" {
		p.closing = op
	}
	p.wake()
}
