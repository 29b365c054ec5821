package subprocess

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/proc"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// subprocess is the transport of a child process. Owned by the loop goroutine.
type subprocess struct {
	base.Creation
	base.Calls
	loop  *loopnode.Loop
	child *proc.Child // Invariant: reaped exactly when it has exited
	pid   int
	info  Info
	name  string
	group bool // the rest of its process group ends with it
	proto Protocol
	watch loopaccess.Watch // of the exit; nil when a goroutine waits for it

	pipes [3]base.Pipe // nil for what is not a pipe
	open  int          // pipes that have not ended

	state   state
	told    bool  // ConnectionMade was called
	closing bool  // Close was called; the child may take its time to end
	code    int   // of the exit
	reason  error // of ConnectionLost
	failed  error // why ConnectionMade failed
	waiters base.Waiters

	sys   *actors.System // nil until somebody asks for the actor
	actor actors.Ref
}

// attach makes the transports of the pipes and the watch of the exit.
func (s *subprocess) attach(e *childEnds) error {
	for i := range e.ours {
		if !e.piped[i] {
			continue
		}
		e.piped[i] = false // OpenPipe owns it
		c, err := base.OpenPipe(s.loop, s.Context(), e.ours[i], i == 0, &childPipe{s, i})
		if err != nil {
			return err
		}
		s.pipes[i] = c
		s.open++
	}
	fd := s.child.FD()
	if fd == proc.None {
		return nil
	}
	w, err := loopaccess.Of(s.loop).Watch(fd, s.onExit, func() {})
	s.watch = w
	return err
}

// announce queues ConnectionMade, then data and the exit, and waits for it.
func (s *subprocess) announce(ctx context.Context) error {
	err := base.Announce(ctx, s.loop, func(made func()) { s.loop.CallSoon(func() { s.made(made) }) })
	if err != nil {
		return err
	}
	return s.failed // of a ConnectionMade that failed
}

// made calls ConnectionMade. A transport that was closed before is not
// announced: destroy waits for the end of its child.
func (s *subprocess) made(done func()) {
	if s.closing {
		return
	}
	s.told = true
	defer func() { // also when ConnectionMade leaves by Goexit
		s.listen()
		done()
	}()
	s.Call("ConnectionMade", func() { s.proto.ConnectionMade(s) })
}

// Fail ends the transport of a protocol whose ConnectionMade failed.
func (s *subprocess) Fail(reason error) {
	s.failed = reason
	s.Close()
}

// listen lets the pipes and the exit be heard.
func (s *subprocess) listen() {
	for _, c := range s.pipes {
		if c != nil {
			c.Listen()
		}
	}
	if s.hasExited() {
		return
	}
	if s.watch != nil {
		if err := s.watch.Set(true, false); err == nil {
			return
		}
	}
	s.waitOnGoroutine()
}

// waitOnGoroutine waits for the exit where there is no pidfd to watch.
func (s *subprocess) waitOnGoroutine() {
	child := s.child
	// goroutine: owner: the transport; ends when the child does.
	go func() {
		child.Wait()
		_ = s.loop.Ref().CallSoonThreadsafe(s.onExit) // a closed loop has reaped it
	}()
}

// abandon kills the child and leaves the rest to the loop.
func (s *subprocess) abandon() {
	s.Close()
	if !s.told {
		s.listen()
	}
}

// destroy kills the child and waits until it is reaped: what is left of a start
// that failed or was given up. The protocol hears the rest later, if it heard
// the beginning.
func (s *subprocess) destroy(ctx context.Context) {
	s.abandon()
	_, _ = s.wait(context.WithoutCancel(ctx)) // a second cancellation leaves the rest to the loop
}

// onExit takes the exit code, tells the protocol and wakes who waits.
func (s *subprocess) onExit() {
	if s.hasExited() {
		return
	}
	if s.group {
		// Why before Reap: until then the number of the group is nobody else's.
		if ended := s.child.WaitFor(0); ended {
			_ = s.child.SignalGroup(syscall.SIGKILL) // nobody left is no error
		}
	}
	if s.watch != nil {
		s.watch.Close() // Reap closes the descriptor
		s.watch = nil
	}
	code, done, err := s.child.Reap()
	switch {
	case !done:
		s.waitOnGoroutine()
		return
	case err != nil:
		code = lostCode
		s.loop.Logger().Warn("the exit code of a child is lost, 255 stands for it", "pid", s.pid, "program", s.name, "error", err)
	}
	s.exit(code)
}

// lostCode is asyncio's for a child that somebody else reaped.
const lostCode = 255

func (s *subprocess) exit(code int) {
	s.state, s.code = exited, code
	defer s.settle() // whatever the protocol does
	if s.told {
		s.Tell("ProcessExited", s.proto.ProcessExited)
	}
}

// settle tells those who wait that the child has ended.
func (s *subprocess) settle() {
	s.waiters.Wake()
	s.endActor()
	s.maybeEnd()
}

// childPipe is the protocol of one pipe of a child.
type childPipe struct {
	s  *subprocess
	fd int
}

func (p *childPipe) DataReceived(b []byte) { p.s.proto.PipeDataReceived(p.fd, b) }

func (p *childPipe) PauseWriting() {
	if w, ok := p.s.proto.(transportactors.WritePauser); ok {
		w.PauseWriting()
	}
}

func (p *childPipe) ResumeWriting() {
	if w, ok := p.s.proto.(transportactors.WritePauser); ok {
		w.ResumeWriting()
	}
}

func (p *childPipe) ConnectionLost(reason error) {
	s := p.s
	defer func() { // whatever the protocol does
		s.open--
		s.maybeEnd()
	}()
	if s.told {
		s.Tell("PipeConnectionLost", func() { s.proto.PipeConnectionLost(p.fd, reason) })
	}
}

// maybeEnd queues ConnectionLost once nothing else can come.
func (s *subprocess) maybeEnd() {
	if s.state == exited && s.open == 0 {
		s.state = losing
		if !s.loop.IsClosed() { // otherwise no turn comes, and LoopClosed ends it
			s.loop.CallSoon(s.end)
		}
	}
}

func (s *subprocess) end() {
	if s.state == ended {
		return
	}
	s.state = ended
	base.Leave(s)
	if s.told {
		s.Tell("ConnectionLost", func() { s.proto.ConnectionLost(s.reason) })
	}
}

// LoopClosed ends everything at once: no turn will come.
func (s *subprocess) LoopClosed() {
	if s.state == ended {
		return
	}
	s.closing, s.reason = true, s.loop.CloseReason()
	// Why deferred: what a protocol does with one piece of news must not cost the
	// rest, least of all the end of the child.
	defer s.end()
	defer s.killAndReap()
	for _, c := range slices.Backward(s.pipes[:]) {
		if c != nil {
			defer c.LoopClosed()
		}
	}
}

// closeWait is how long closing the loop waits for a child that was killed.
const closeWait = time.Second

func (s *subprocess) killAndReap() {
	if s.hasExited() {
		return
	}
	_ = s.child.Signal(syscall.SIGKILL) // an end of its own is as good
	if s.child.WaitFor(closeWait) {
		s.onExit()
		return
	}
	s.loop.Logger().Warn("a killed child does not end; it is reaped when it does", "pid", s.pid, "program", s.name)
	child := s.child
	if s.watch != nil {
		s.watch.Close()
	}
	// goroutine: owner: nobody, the loop is closed; ends when the child does.
	go func() {
		child.Wait()
		_, _, _ = child.Reap()
	}()
	s.exit(-int(syscall.SIGKILL))
}

// wait waits for the exit code; any number of tasks may.
func (s *subprocess) wait(ctx context.Context) (int, error) {
	if err := base.RequireContext(ctx, "Wait"); err != nil {
		return 0, err
	}
	if s.hasExited() {
		return s.code, nil
	}
	err := s.waiters.Wait(ctx, s.loop)
	return s.code, err
}

func (s *subprocess) PID() int                { return s.pid }
func (s *subprocess) Returncode() (int, bool) { return s.code, s.hasExited() }
func (s *subprocess) Loop() *loopnode.Loop    { return s.loop }
func (s *subprocess) Receiver() any           { return s.proto }
func (s *subprocess) IsClosing() bool         { return s.closing }
func (s *subprocess) Protocol() Protocol      { return s.proto }
func (s *subprocess) Terminate() error        { return s.SendSignal(syscall.SIGTERM) }
func (s *subprocess) Kill() error             { return s.SendSignal(syscall.SIGKILL) }

func (s *subprocess) SetProtocol(p Protocol) {
	if p == nil {
		p = BaseProtocol{}
	}
	s.proto = p
}

func (s *subprocess) PipeTransport(fd int) transportactors.Transport {
	if fd < 0 || fd >= len(s.pipes) || s.pipes[fd] == nil {
		return nil
	}
	return s.pipes[fd].(transportactors.Transport)
}

// Info is what was started: ExtraInfo("subprocess"). asyncio gives the Popen.
type Info struct {
	PID  int
	Args []string
	Dir  string // "" is this process's
}

func (s *subprocess) ExtraInfo(name string) any {
	if name != "subprocess" {
		return nil
	}
	return s.info
}

// checkGoroutine refuses, in debug mode, a call from another goroutine than the loop's.
func (s *subprocess) checkGoroutine(method string) error {
	return base.CheckGoroutine(s.loop, "subprocess."+method, "Transport.Actor")
}

func (s *subprocess) SendSignal(sig syscall.Signal) error {
	if err := s.checkGoroutine("SendSignal"); err != nil {
		return err
	}
	if err := validSignal(sig); err != nil {
		return err
	}
	if s.hasExited() {
		return fmt.Errorf("%w: process %d has ended (%s)", ErrProcessLookup, s.pid, outcome(s.code))
	}
	if err := s.child.Signal(sig); err != nil {
		return fmt.Errorf("sending signal %d to process %d: %w", int(sig), s.pid, err)
	}
	return nil
}

func (s *subprocess) Close() {
	if s.closing || s.checkGoroutine("Close") != nil {
		return
	}
	s.closing = true
	for i, c := range s.pipes {
		switch {
		case c == nil:
		case i == 0:
			c.Abort() // nobody will take what is queued
		default:
			c.Close()
		}
	}
	if !s.hasExited() {
		_ = s.child.Signal(syscall.SIGKILL) // gone, or not ours to kill: the exit is awaited either way
	}
}

// String names the child and its state.
func (s *subprocess) String() string {
	state := "running"
	if s.hasExited() {
		state = outcome(s.code)
	}
	return fmt.Sprintf("<Subprocess %s pid %d %s>", s.name, s.pid, state)
}

func outcome(code int) string {
	if code < 0 {
		return fmt.Sprintf("signal %d", -code)
	}
	return fmt.Sprintf("exit %d", code)
}
