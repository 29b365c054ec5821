package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/proc"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/tasksync"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

// child is a process that was started for a node. Owned by the loop of the host.
//
//	started ──▶ runs ──exit──▶ ended, kept for whoever asks ──▶ forgotten
//	              │
//	              └ end(why): SIGTERM to its group, SIGKILL after the grace ──▶ exit
//
// It runs in a session and a process group of its own: what it starts gets the same
// signals, and what is left of the group when it ends is killed (subprocess.WithGroupKill).
// A process that has left the group by setsid(2) of its own is out of reach, unless the
// profile has a control group (Profile.Group), which nobody leaves by that.
//
// Invariant: while it runs, either its owner is a member that asks for it (polls, lease), or
// it is being ended (why), or its profile says Keep and owner is nobody.
type child struct {
	host    *host
	id      uint64
	profile *profile
	owner   link.Peer // zero: nobody has it (Keep)
	key     string    // of the owner's handle: it may have had others before
	began   time.Time

	control *controlGroup        // nil: its profile has none
	t       subprocess.Transport // nil until it has started
	pid     int
	outlets [2]*outlet // stdout and stderr
	stdin   string     // path of the stream that the owner may open; "" for none
	closeIn func()     // takes the expectation of that stream back

	counted bool   // in running
	failed  bool   // its start was given up: nobody has heard of it
	why     string // the node ends it, and for what reason; "" while it does not
	exit    *Exit  // nil while it runs
	over    tasksync.Event
	polls   int // wait operations under way
	timers  timers
}

// timers are the alarms of a child; nil: not set.
type timers struct {
	lease, most, kill, linger, forget *loopnode.TimerHandle
}

// Times of a child.
const (
	pollTime   = 10 * time.Second // a wait is answered after so long, whatever there is to say
	leaseTime  = 3 * pollTime     // an owner that has not asked for so long is gone
	lingerTime = time.Second      // a pipe that somebody else holds, and is silent, is closed then
	keptTime   = time.Minute      // how long the exit status waits to be asked for, with Kill
)

// reference is what its owner calls it: NODE/PROFILE/NUMBER.
func (c *child) reference() string {
	return c.host.node.Name() + "/" + c.profile.Name + "/" + strconv.FormatUint(c.id, 10)
}

// name is what logs and errors call it.
func (c *child) name() string {
	return c.host.node.Name() + "/" + LoopName + "/" + c.profile.Name + "/" + strconv.FormatUint(c.id, 10)
}

// launch opens the streams of the output and starts the program. The streams come first:
// what the child writes has somewhere to go, and an owner that is gone costs no process.
func (c *child) launch(ctx context.Context, q request, argv, env []string) error {
	streams, err := c.openOutput(ctx, q.Key)
	if err != nil {
		return err
	}
	for i, s := range streams {
		c.outlets[i] = newOutlet(c, i+1)
		c.outlets[i].attach(s, nil)
	}
	opts := []subprocess.Option{
		subprocess.WithEnv(env...), subprocess.WithDir(c.profile.Dir),
		subprocess.WithNewSession(), subprocess.WithGroupKill(), subprocess.WithDeathSignal(syscall.SIGKILL),
	}
	if q.NoStdin {
		opts = append(opts, subprocess.WithStdin(subprocess.DevNull))
	}
	if err = c.enclose(); err == nil && c.control != nil {
		opts = append(opts, subprocess.WithControlGroup(c.control.path))
	}
	if u := c.profile.user; u != nil {
		opts = append(opts, subprocess.WithUser(u.uid, u.gid, u.groups...))
	}
	if err == nil {
		_, _, err = subprocess.ExecProtocol(ctx, func() childProtocol { return childProtocol{c} }, c.profile.Limits.limited(argv), opts...)
	}
	if err != nil {
		c.dissolve()
		for _, s := range streams {
			s.Abort()
		}
		if errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, ErrNoGroup) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	c.begun(q)
	return nil
}

// begun sets what a child that runs has; it may have ended by now.
func (c *child) begun(q request) {
	if c.exit != nil {
		return
	}
	if !q.NoStdin {
		c.expectStdin()
	}
	if most := c.profile.MaxTime; most > 0 {
		c.timers.most = c.host.loop.CallLater(most, func() { c.end("it ran longer than max_time, " + most.String()) })
	}
	if c.why != "" { // its end was asked for while it was being started
		c.terminate()
	}
	c.holdLease()
}

// openOutput opens streams to where the owner expects stdout and stderr.
func (c *child) openOutput(ctx context.Context, key string) (out []writer, err error) {
	if key == "" || len(key) > 64 || strings.ContainsAny(key, "/ \x00") {
		return nil, badArguments("the key of the streams is %.80q", key)
	}
	for fd := 1; fd <= 2; fd++ {
		s, err := c.host.parts.Open(ctx, actors.Address{Node: c.owner.Name, Incarnation: c.owner.Number, Path: outputPath(key, fd)})
		if err != nil {
			for _, open := range out {
				open.Abort()
			}
			return nil, fmt.Errorf("the stream of descriptor %d to node %s: %w", fd, c.owner.Name, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// expectStdin lets the owner open a stream to the child's stdin.
func (c *child) expectStdin() {
	in := c.t.PipeTransport(0)
	path := stdinPath(c.id)
	stop, err := c.host.parts.Expect(path, c.owner.Name, input{in.Ref(), c})
	if err != nil { // its stdin ends at once, which the owner hears
		c.host.log.Warn("a process has no stdin", "process", c.name(), "error", err)
		in.Close()
		return
	}
	c.stdin, c.closeIn = path, stop
}

// input is the target of the stream of stdin: the pipe, but for what happens when the stream
// breaks. A pipe that is closed then would be an end like any other to the child, which would
// take a part of its input for all of it: "cat > new && mv new old" must not come to the mv.
// So the child is ended, with the pipe open until it has. One whose profile keeps it sees the
// end of its stdin, because nobody will ever write to it again.
type input struct {
	transportactors.Ref
	c *child
}

// Fail is told by the stream, on any goroutine.
func (i input) Fail(reason error) error {
	return i.c.host.loop.Ref().CallSoonThreadsafe(func() { i.c.inputLost(reason) })
}

// Abort is Fail without a reason: the owner's handle is gone.
func (i input) Abort() error { return i.Fail(fault.ErrClosed) }

// inputLost is the end of a stream to stdin that its owner has not closed.
func (c *child) inputLost(reason error) {
	switch {
	case c.exit != nil:
	case c.profile.Orphan == Keep:
		c.endInput()
	default:
		c.end("a part of its stdin was lost: " + reason.Error())
	}
}

// childProtocol is what the child tells. Loop goroutine.
type childProtocol struct{ c *child }

// ConnectionMade comes when the program runs, before anything else.
func (p childProtocol) ConnectionMade(t subprocess.Transport) { p.c.t, p.c.pid = t, t.PID() }

// PipeDataReceived hands output on.
func (p childProtocol) PipeDataReceived(fd int, data []byte) { p.c.outlets[fd-1].came(data) }

// PipeConnectionLost ends the stream behind what the pipe has brought.
func (p childProtocol) PipeConnectionLost(fd int, _ error) {
	if fd > 0 {
		p.c.outlets[fd-1].end()
	}
}

// ProcessExited notes the status.
func (p childProtocol) ProcessExited() { p.c.exited() }

// ConnectionLost comes last.
func (p childProtocol) ConnectionLost(error) {
	if p.c.timers.linger != nil {
		p.c.timers.linger.Cancel()
	}
}

// The order at the end of a child. The kernel tells its exit and the end of its pipes in any
// order, and the pipes may stay open for longer, when a grandchild has them. The owner hears
// the exit at once, and the end of each output behind the last byte of it; neither waits for
// the other. What a Read returns after Wait is therefore still the process's own.
//
// exited notes how the child has ended, and tells who waits.
func (c *child) exited() {
	code, _ := c.t.Returncode()
	e := &Exit{Code: code, Why: c.why, Took: time.Since(c.began)}
	if code < 0 {
		e.Code, e.Signal = 128-code, -code
	}
	c.exit = e
	c.dissolve()
	c.release()
	if c.failed {
		return
	}
	for _, alarm := range []*loopnode.TimerHandle{c.timers.lease, c.timers.most, c.timers.kill} {
		if alarm != nil {
			alarm.Cancel()
		}
	}
	if c.closeIn != nil {
		c.closeIn()
	}
	if c.why != "" {
		c.host.ended.Add(1)
	}
	c.host.log.Info("a process has ended", "process", c.name(), "pid", c.pid, "how", e.String())
	c.over.Set()
	c.linger()
	c.keep()
}

// release gives its place to another child, once.
func (c *child) release() {
	if !c.counted {
		return
	}
	c.counted = false
	*c.profile.running--
	c.host.running.Add(-1)
}

// keep holds the exit status, and what a profile with Keep has of the output, for a while,
// but for no more children of a profile than may run at a time. The oldest goes first whose
// output nobody has to read any more; when there is none, the oldest.
func (c *child) keep() {
	life := keptTime
	if c.profile.Orphan == Keep {
		life = c.profile.Kept
	}
	p := c.profile
	p.finished = append(p.finished, c.id)
	if len(p.finished) > max(p.Children, usualChildren) {
		oldest := slices.IndexFunc(p.finished, func(id uint64) bool { return id != c.id && !c.host.children[id].read() })
		c.host.children[p.finished[max(oldest, 0)]].forget()
	}
	var over func()
	over = func() {
		if c.read() { // its owner still reads, and asks
			c.timers.forget = c.host.loop.CallLater(keptTime, over)
			return
		}
		c.forget()
	}
	c.timers.forget = c.host.loop.CallLater(life, over)
}

// read reports whether somebody still has output of it to read.
func (c *child) read() bool { return c.outlets[0].stream != nil || c.outlets[1].stream != nil }

// forget drops a child that has ended, and the rest of its output: an owner that never reads
// must not fill this node with pipes. It hears that when it asks again.
func (c *child) forget() {
	for _, o := range c.outlets {
		if o.stream != nil {
			o.stream.Abort()
		}
		if !o.ended {
			c.t.PipeTransport(o.fd).Close()
		}
	}
	if c.timers.forget != nil {
		c.timers.forget.Cancel()
	}
	p := c.profile
	if i := slices.Index(p.finished, c.id); i >= 0 {
		p.finished = slices.Delete(p.finished, i, i+1)
	}
	delete(c.host.children, c.id)
}

// linger closes the pipes that are still open when the child has ended and nothing comes
// any more: a process that left the group holds them, and nobody would ever read their end.
// A pipe that waits for a slow reader is left alone.
func (c *child) linger() {
	began := time.Now()
	c.timers.linger = c.host.loop.CallLater(lingerTime, func() {
		again := false
		for _, o := range c.outlets {
			switch {
			case o.ended:
			case o.stopped || len(o.waits) > 0 || o.last.After(began):
				again = true
			default:
				c.t.PipeTransport(o.fd).Close()
			}
		}
		if again {
			c.linger()
		}
	})
}

// wait answers when the child has ended, or after pollTime without Exit. An owner that was
// given up, and whose child is kept, hears that it has it no more.
func (c *child) wait(ctx context.Context, owner link.Peer, key string) (answer, error) {
	if c.exit == nil && !c.has(owner, key) {
		return answer{}, fmt.Errorf("%w: node %s was given up and does not have %s any more; it is kept, for whoever attaches to it", ErrUnknownProcess, owner.Name, c.name())
	}
	c.polls++
	c.host.asking.Add(1)
	if c.timers.lease != nil {
		c.timers.lease.Cancel()
	}
	defer func() {
		c.polls--
		c.host.asking.Add(-1)
		c.holdLease()
	}()
	if c.exit == nil {
		limited, cancel := context.WithTimeout(ctx, pollTime)
		defer cancel()
		if err := c.over.Wait(limited); err != nil && limited.Err() == nil {
			return answer{}, err // the task was cancelled: nobody waits
		}
	}
	return answer{ID: c.id, PID: c.pid, Exit: c.exit, Cut: [2]bool{c.outlets[0].cut, c.outlets[1].cut}}, nil
}

// has reports whether the handle with this key has the child. "" is the key of a caller that
// does not say which: of a node of an older version.
func (c *child) has(owner link.Peer, key string) bool {
	return c.owner == owner && (key == "" || key == c.key)
}

// holdLease lets the child be an orphan when nobody asks for it for leaseTime. Nobody has
// to ask for one that is kept.
func (c *child) holdLease() {
	if c.exit != nil || c.polls > 0 || c.owner == (link.Peer{}) {
		return
	}
	if c.timers.lease != nil {
		c.timers.lease.Cancel()
	}
	limit := time.Duration(c.host.lease.Load())
	c.timers.lease = c.host.loop.CallLater(limit, func() {
		c.orphan(fmt.Sprintf("node %s has not asked for it for %v", c.owner.Name, limit))
	})
}

// orphan is called when the owner is gone, or lets the child go.
func (c *child) orphan(why string) {
	if c.exit != nil {
		c.owner = link.Peer{}
		return
	}
	if c.profile.Orphan == Kill {
		c.end(why)
		return
	}
	c.host.log.Info("a process has no owner any more and is kept", "process", c.name(), "why", why)
	c.owner = link.Peer{}
	c.endInput()
}

// endInput closes the child's stdin.
func (c *child) endInput() {
	if c.closeIn != nil {
		c.closeIn()
	}
	if c.t != nil {
		if in := c.t.PipeTransport(0); in != nil {
			in.Close()
		}
	}
}

// end ends the child: SIGTERM to its group, and SIGKILL after the grace. The first reason
// counts.
func (c *child) end(why string) {
	if c.exit != nil || c.why != "" {
		return
	}
	c.why = why
	if c.t != nil { // otherwise launch does it
		c.terminate()
	}
}

func (c *child) terminate() {
	_ = c.signal(syscall.SIGTERM) // what it does not hear, kill says louder
	c.timers.kill = c.host.loop.CallLater(c.profile.Grace, c.kill)
}

// kill ends the child at once.
func (c *child) kill() { _ = c.signal(syscall.SIGKILL) } // one that may not be killed runs on, and its owner sees it

// order carries out a signal of the owner's.
func (c *child) order(sig int) error {
	switch {
	case sig < 1 || sig > 64:
		return badArguments("there is no signal %d: give 1 to 64", sig)
	case c.exit != nil:
		return fmt.Errorf("%w: %s has ended (%s)", ErrUnknownProcess, c.name(), c.exit)
	}
	return c.signal(syscall.Signal(sig))
}

// signal sends sig to the child's group, as a terminal does. Loop goroutine: until exited
// has run there, the child is not reaped, and its number is nobody else's.
func (c *child) signal(sig syscall.Signal) error {
	if c.exit != nil || c.t == nil {
		return nil
	}
	if sig == syscall.SIGKILL && c.control != nil && c.control.kill() == nil {
		return nil // all of it, whatever session it is in
	}
	return proc.SignalGroup(c.pid, sig)
}

// attach gives a child that is kept to owner: first what there is of its output, then what
// follows. The child waits meanwhile, as for every slow reader.
func (c *child) attach(ctx context.Context, owner link.Peer, q request) (answer, error) {
	if c.profile.Orphan != Keep {
		return answer{}, badArguments("profile %s keeps nothing to attach to (orphan: keep)", c.profile.Name)
	}
	if err := c.host.acquaint(ctx, owner); err != nil {
		return answer{}, err
	}
	if c.owner != (link.Peer{}) && (c.exit == nil || c.read()) {
		return answer{}, fault.Codef(wire.Busy, "%w: node %s has %s", fault.ErrBusy, c.owner.Name, c.name())
	}
	c.owner, c.key = owner, q.Key // from here on nobody else may
	streams, err := c.openOutput(ctx, q.Key)
	if err != nil {
		c.owner = link.Peer{}
		return answer{}, err
	}
	out := answer{ID: c.id, PID: c.pid, Life: c.host.node.Incarnation(), Exit: c.exit}
	for i, s := range streams {
		kept, missed := c.outlets[i].spool.all()
		out.Missed[i] = missed
		c.outlets[i].attach(s, kept)
	}
	c.holdLease()
	return out, nil
}
