package base

import (
	"context"
	"errors"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/report"
)

// Subject is a transport whose protocol is called.
type Subject interface {
	Loop() *loopnode.Loop
	Context() context.Context
	// Receiver is the protocol, as reports show it.
	Receiver() any
	// Fail ends the transport at once, with reason for ConnectionLost.
	Fail(reason error)
}

// Calls is how every transport calls its protocol. Owned by the loop goroutine.
//
// The protocol is somebody else's code. It may panic, and it may call
// runtime.Goexit (t.FailNow in a test does). Either must end its own transport
// and nothing else, and must be reported once. A panic with a
// *loopnode.FatalError leaves the run of the loop, as from any callback.
type Calls struct{ of Subject }

// CallsOf is how the protocol of s is called.
func CallsOf(s Subject) Calls { return Calls{s} }

// Call runs one method of the protocol. false: it panicked, which is reported,
// and the transport is ending with the panic as the reason. After
// runtime.Goexit, which the loop reports, the reason is loopnode.ErrGoexit.
func (c Calls) Call(method string, fn func()) bool {
	p := guard.CallWhole(fn, func() { c.of.Fail(loopnode.ErrGoexit) })
	if p == nil {
		return true
	}
	c.of.Fail(p)
	c.ReportPanic("Fatal error: protocol."+method+" call failed.", p)
	return false
}

// Tell runs one method of the protocol whose failure the transport survives: a
// panic is reported and returned.
func (c Calls) Tell(method string, fn func()) *guard.Panic {
	p := guard.Call(fn)
	if p != nil {
		c.ReportPanic("Exception in protocol."+method, p)
	}
	return p
}

// Report tells the loop's exception handler.
func (c Calls) Report(message string, err error) {
	c.of.Loop().CallExceptionHandler(loopnode.ExceptionContext{
		Kind: report.Protocol, Message: message, Exception: err, Transport: c.of, Protocol: c.of.Receiver(), Context: c.of.Context(),
	})
}

// ReportPanic is Report of a panic; a fatal one goes on from here.
func (c Calls) ReportPanic(message string, p *guard.Panic) {
	c.Report(message, p)
	var fatal *loopnode.FatalError
	if errors.As(error(p), &fatal) {
		panic(p)
	}
}

// Announce has begin queue ConnectionMade and, behind it, the function it is
// given, and waits until that has run. When the wait ends early, the error is
// the caller's: it ends the transport.
func Announce(ctx context.Context, l *loopnode.Loop, begin func(made func())) error {
	made := loopnode.NewFuture[struct{}](l)
	begin(func() {
		if !made.Done() {
			_ = made.SetResult(struct{}{})
		}
	})
	_, err := made.Await(ctx)
	return err
}

// OwnFault is reason when a method of the protocol caused it, else nil.
func OwnFault(reason error) error {
	if _, panicked := reason.(*guard.Panic); panicked || reason == loopnode.ErrGoexit {
		return reason
	}
	return nil
}
