package admin

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// A command of a profile on any node (package process), with its stdin, output and signals
// over one connection. The request is answered when the command runs, or with an error;
// then both sides send frames, a JSON document on a line each:
//
//	node to client   {"started":…}  {"stdout":"base64"}  {"stderr":"base64"}  {"taken":1}  {"exit":…}  {"error":…}
//	client to node   {"stdin":"base64"}  {"eof":true}  {"signal":2}
//
// With Upgrade: loopmesh-run the connection is both ways. Without it, for curl, the answer is
// the lines of the node and stdin is empty. The last line has exit or error.
//
// Who slows whom? A client that does not read fills the socket; then nothing of the output is
// taken, and the command waits. Stdin the other way: a client sends at most runWindow frames
// that were not taken, so a command that does not read never keeps a signal waiting behind
// its stdin. A connection that ends lets the command go, as a terminal that is closed does:
// it is ended, or its profile keeps it.

// RunRequest is what to run.
type RunRequest struct {
	// The node that runs it.
	On      string `json:"on"`
	Profile string `json:"profile"`
	// The named arguments of the profile.
	Args map[string]string `json:"args,omitempty"`
	// The words that follow.
	Words   []string          `json:"words,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	NoStdin bool              `json:"no_stdin,omitempty"`
	// Start nothing, but take this process of the profile, which is kept: its number.
	Attach uint64 `json:"attach,omitempty"`
	// Leave it when it has started, and send nothing more: for profiles that keep.
	Detach bool `json:"detach,omitempty"`
}

// RunFrame is one line between a node and who runs a command through it; one field is set.
type RunFrame struct {
	Started *RunStarted   `json:"started,omitempty"`
	Stdout  []byte        `json:"stdout,omitempty"`
	Stderr  []byte        `json:"stderr,omitempty"`
	Taken   int           `json:"taken,omitempty"` // frames of stdin
	Exit    *process.Exit `json:"exit,omitempty"`
	Error   *Error        `json:"error,omitempty"` // why nobody knows how it ended, or with Exit who ended it

	Stdin  []byte `json:"stdin,omitempty"`
	EOF    bool   `json:"eof,omitempty"`
	Signal int    `json:"signal,omitempty"`
}

// RunStarted says what runs.
type RunStarted struct {
	ID  string `json:"id"` // NODE/PROFILE/NUMBER
	PID int    `json:"pid"`
}

// Bounds of such a connection.
const (
	runProtocol = "loopmesh-run"
	runPiece    = 32 << 10 // bytes in one frame
	runWindow   = 8        // frames of stdin that were not taken
	runLine     = 64 << 10 // bytes of a line
)

// runProcess is the route. Its goroutines: this one starts the command and then waits in
// serve; two pumps read the output; hear reads the client's frames and feed writes stdin,
// when the connection is both ways. Whichever finds that its side is gone calls cancel: that
// ends the waits of all others and closes the command. When runProcess returns, none of them
// is left.
func (s *Server) runProcess(w http.ResponseWriter, r *http.Request) {
	both := strings.EqualFold(r.Header.Get("Upgrade"), runProtocol)
	p, q, err := s.startProcess(r, !both)
	if err != nil {
		reply(w, func() (any, error) { return nil, err })
		return
	}
	defer p.Detach()
	s.runs.Add(1)
	defer s.runs.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stop := context.AfterFunc(ctx, p.Detach)
	defer stop()
	session := &runSession{p: p, cancel: cancel, leave: q.Detach}
	if !both {
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		session.out, session.flush = w, http.NewResponseController(w).Flush
		defer s.onEnding(cancel)()
		session.serve(ctx)
		return
	}
	conn, in, err := takeOver(w)
	if err != nil {
		reply(w, func() (any, error) { return nil, err })
		return
	}
	defer s.onEnding(func() { cancel(); _ = conn.Close() })()
	session.out = conn
	var reading sync.WaitGroup
	// goroutine: owner: runProcess, which waits for it; ends when conn is closed
	reading.Go(func() { session.hear(ctx, in) })
	session.serve(ctx)
	_ = conn.Close() // the reader ends with it
	cancel()
	reading.Wait()
}

// startProcess reads the request and starts the command.
func (s *Server) startProcess(r *http.Request, noStdin bool) (p *process.Process, q RunRequest, err error) {
	body, err := readBody(r)
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	if err != nil {
		return nil, q, &Error{Kind: BadRequest, Message: "the request is no RunRequest: " + err.Error(), Hint: `send {"on": NODE, "profile": NAME}`}
	}
	ctx, cancel, err := withTimeout(r)
	if err != nil {
		return nil, q, err
	}
	defer cancel()
	if q.Attach != 0 {
		p, err = process.Attach(ctx, s.node, q.On, q.Profile, q.Attach)
	} else {
		p, err = process.Start(ctx, s.node, process.Command{Node: q.On, Profile: q.Profile, Args: q.Args, Words: q.Words, Env: q.Env, NoStdin: q.NoStdin || q.Detach || noStdin})
	}
	switch {
	case errors.Is(err, cluster.ErrRefused):
		e := asError(err)
		e.Hint = fmt.Sprintf("node %s lets nodes start %q that have the right spawn:%s there: 'loopmesh keys', or without keys start --allow", q.On, q.Profile, q.Profile)
		return nil, q, e
	case err != nil:
		return nil, q, s.advise(ctx, err, q.On)
	}
	return p, q, nil
}

// A connection that was taken over is none of net/http's any more: Shutdown neither waits
// for it nor closes it. So each session hears of the end of the server by itself, and Close
// of the server waits for all of them.
//
// onEnding calls fn when the server is closed. stop waits for that to be over.
func (s *Server) onEnding(fn func()) (stop func()) {
	done := make(chan struct{})
	var work sync.WaitGroup
	// goroutine: owner: the request, whose stop waits for it; ends with stop or Close of the server
	work.Go(func() {
		select {
		case <-s.ending:
			fn()
		case <-done:
		}
	})
	return func() { close(done); work.Wait() }
}

// takeOver makes the connection of a request one of frames.
func takeOver(w http.ResponseWriter) (net.Conn, *bufio.Reader, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, &Error{Kind: BadRequest, Message: "this connection cannot be upgraded: " + err.Error()}
	}
	_, err = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + runProtocol + "\r\n\r\n"))
	if err != nil {
		_ = conn.Close()
	}
	return conn, buffered.Reader, nil // one that is closed ends the session
}

// runSession is one command and its client.
type runSession struct {
	p      *process.Process
	cancel func() // gives the command up
	leave  bool   // it is let go at once

	mu    sync.Mutex
	out   io.Writer
	flush func() error // nil: not needed
}

// say sends a frame. A client that is gone ends the command.
func (r *runSession) say(f RunFrame) bool {
	text, err := json.Marshal(f)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err = r.out.Write(append(text, '\n')); err == nil && r.flush != nil {
		err = r.flush()
	}
	if err != nil {
		r.cancel()
	}
	return err == nil
}

// serve sends the output and then the end. It returns when all of it was sent, or ctx ended.
func (r *runSession) serve(ctx context.Context) {
	r.say(RunFrame{Started: &RunStarted{r.p.String(), r.p.PID()}})
	if r.leave {
		r.p.Detach()
		_, err := r.p.Wait(ctx) // until its node knows
		if !errors.Is(err, cluster.ErrClosed) {
			r.say(RunFrame{Error: asError(err)})
		}
		return
	}
	var pumps sync.WaitGroup
	// goroutine: owner: serve, which waits for it; ends with the output, or with ctx
	pumps.Go(func() { r.pump(ctx, r.p.Stdout(), func(b []byte) RunFrame { return RunFrame{Stdout: b} }) })
	// goroutine: owner: serve, which waits for it; ends with the output, or with ctx
	pumps.Go(func() { r.pump(ctx, r.p.Stderr(), func(b []byte) RunFrame { return RunFrame{Stderr: b} }) })
	pumps.Wait()
	exit, err := r.p.Wait(ctx)
	f := RunFrame{}
	if err == nil || errors.Is(err, process.ErrEnded) {
		f.Exit = &exit
	}
	if err != nil {
		f.Error = asError(err)
	}
	r.say(f)
}

// pump sends one output until its end, whatever that is. How the process has ended, and why
// its output may be cut short, the last frame says, which comes behind both outputs.
func (r *runSession) pump(ctx context.Context, from *process.Output, frame func([]byte) RunFrame) {
	buf := make([]byte, runPiece)
	for {
		n, err := from.Read(ctx, buf)
		if err != nil || !r.say(frame(buf[:n])) {
			return // why, Wait says
		}
	}
}

// Why a client that sends more stdin than it may is cut off and not slowed: slowing it means
// reading no more of its connection, and a signal would then wait behind stdin, for as long
// as the command does not read. Ctrl-C must not depend on that.
//
// hear carries out what the client says until its connection ends, which ends the command.
// Stdin has a goroutine of its own, because the command may not read it.
func (r *runSession) hear(ctx context.Context, in *bufio.Reader) {
	defer r.cancel()
	stdin := make(chan []byte, runWindow)
	var writing sync.WaitGroup
	// goroutine: owner: hear, which waits for it; ends when stdin is closed, and its write with ctx
	writing.Go(func() { r.feed(ctx, stdin) })
	defer writing.Wait()
	defer r.cancel()
	defer close(stdin)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, runLine)
	for lines.Scan() {
		var f RunFrame
		if json.Unmarshal(lines.Bytes(), &f) != nil {
			return
		}
		switch {
		case f.Signal != 0:
			if err := r.p.Signal(ctx, syscall.Signal(f.Signal)); err != nil && !errors.Is(err, process.ErrUnknownProcess) {
				r.say(RunFrame{Stderr: []byte(fmt.Sprintf("signal %d was not delivered: %v\n", f.Signal, err))})
			}
		case f.EOF || len(f.Stdin) > 0:
			select {
			case stdin <- bytes.Clone(f.Stdin): // empty: the end
			default:
				return // more than the window
			}
		}
	}
}

// feed writes stdin, and gives the client credit for each frame.
func (r *runSession) feed(ctx context.Context, stdin <-chan []byte) {
	for b := range stdin {
		if len(b) == 0 {
			r.p.CloseStdin()
			continue
		}
		_ = r.p.Write(ctx, b) // a command that reads no more ends, or goes on without it
		r.say(RunFrame{Taken: 1})
	}
}

// Run is a command that runs through a node. Next belongs to one goroutine, the other
// methods to any. Close it.
type Run struct {
	conn   io.ReadWriteCloser
	lines  *bufio.Scanner
	credit chan struct{} // frames of stdin that may be sent

	mu sync.Mutex // of writes
}

// How long does the request live? As the connection: so ctx must not bound it, or a command
// could run for no longer than its start may take. It is tied to ctx until the node has
// answered, and from then on to Close.
//
// Run starts a command of a profile on any node. The error is the node's; after it nothing
// runs.
func (c *Client) Run(ctx context.Context, q RunRequest) (*Run, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: err.Error()}
	}
	held, stop := context.WithCancel(context.WithoutCancel(ctx)) // ctx bounds the start, not the command
	defer context.AfterFunc(ctx, stop)()
	to := c.base + "/api/v1/procs/run"
	if at, ok := ctx.Deadline(); ok {
		to += "?timeout=" + untilMargin(at).String()
	}
	r, err := http.NewRequestWithContext(held, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: err.Error()}
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", runProtocol)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(cmp.Or(ctx.Err(), err))
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
		defer resp.Body.Close()
		text, err := io.ReadAll(io.LimitReader(resp.Body, runLine))
		if err != nil {
			return nil, c.unreachable(err)
		}
		return nil, c.refusal(resp.Status, text)
	}
	out := &Run{conn: conn, lines: bufio.NewScanner(conn), credit: make(chan struct{}, runWindow)}
	out.lines.Buffer(nil, runLine)
	for range runWindow {
		out.credit <- struct{}{}
	}
	return out, nil
}

// Next is the next frame: output, or the end (Exit or Error is set), behind which there is
// nothing. It waits. An error says that the node, or Close, has ended the connection.
func (r *Run) Next() (RunFrame, error) {
	for r.lines.Scan() {
		var f RunFrame
		if err := json.Unmarshal(r.lines.Bytes(), &f); err != nil {
			return f, &Error{Kind: Failed, Message: "a frame of the node is not understood: " + err.Error(), Hint: "is the node of another version?"}
		}
		if f.Taken == 0 {
			return f, nil
		}
		for range min(f.Taken, runWindow) {
			select {
			case r.credit <- struct{}{}:
			default:
			}
		}
	}
	return RunFrame{}, &Error{Kind: Unreachable, Message: fmt.Sprintf("the node ended the connection: %v", cmp.Or(r.lines.Err(), io.EOF)), Hint: "the command was ended, or is kept if its profile says so"}
}

// Reading src may block for ever, as a terminal does where nobody types; so Stdin is called
// on a goroutine of its own, which ends with the process of the command line at the latest.
//
// Stdin sends what src has, and then its end. It waits while the command does not read, and
// returns when ctx has ended or the connection has.
func (r *Run) Stdin(ctx context.Context, src io.Reader) error {
	buf := make([]byte, runPiece)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			select {
			case <-r.credit:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := r.send(RunFrame{Stdin: buf[:n]}); err != nil {
				return err
			}
		}
		if err != nil {
			return r.send(RunFrame{EOF: true})
		}
	}
}

// Signal sends a signal to the command. It does not wait for it.
func (r *Run) Signal(sig syscall.Signal) error { return r.send(RunFrame{Signal: int(sig)}) }

func (r *Run) send(f RunFrame) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err = r.conn.Write(append(text, '\n'))
	return err
}

// Close ends the connection, and with it a command that runs.
func (r *Run) Close() { _ = r.conn.Close() } // there is nothing left to lose
