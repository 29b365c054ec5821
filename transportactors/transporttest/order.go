package transporttest

import (
	"context"
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
)

var orderChecks = []check{
	{"PRO-01 PRO-02 made comes first, lost once and last, everything from the loop and one at a time", nil, lifeAndEnd},
	{"an answer goes back on the same connection", bothWays, answer},
	{"calls from another goroutine are refused in debug mode", nil, strayCalls},
	{"facts outlive the connection, its protocol does not", nil, afterwards},
}

func lifeAndEnd(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	if err := here.write([]byte("hello")); err != nil {
		return err
	}
	here.close()
	if here.ended {
		return errors.New("lost inside Close")
	}
	if err := until(ctx, "both losses", func() bool { return here.ended && there.ended }); err != nil {
		return err
	}
	if err := turns(ctx, 5); err != nil { // nothing may follow
		return err
	}
	return errors.Join(here.heard("made", "lost"), there.heard("made", "data", "eof", "lost"),
		there.got([]byte("hello")), here.reason, there.reason)
}

func answer(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	there.onData = func(b []byte) {
		if err := there.t.Write(b); err != nil {
			there.blame("writing inside DataReceived: %v", err)
		}
	}
	for i := range 100 {
		if err := here.write(pattern(i, 1)); err != nil {
			return err
		}
		if err := until(ctx, "the answer", func() bool { return len(here.data) > i }); err != nil {
			return err
		}
	}
	return here.got(pattern(0, 100))
}

func strayCalls(ctx context.Context, e *env) error {
	here, _, err := e.pair(ctx)
	if err != nil {
		return err
	}
	e.loop.SetDebug(true)
	defer e.loop.SetDebug(false)
	stray, err := loopnode.RunInExecutor(ctx, nil, func() ([]error, error) {
		here.t.Close()
		here.t.Abort()
		here.t.SetProtocol(nil)
		calls := []error{
			here.t.Write([]byte("x")), here.t.Writelines(nil),
			here.t.PauseReading(), here.t.ResumeReading(), here.t.SetWriteBufferLimits(1, 1),
		}
		if endsOutput(e.kind) {
			calls = append(calls, here.t.WriteEOF())
		}
		return calls, nil
	}).Await(ctx)
	if err != nil {
		return err
	}
	for i, err := range stray {
		if !errors.Is(err, loopnode.ErrWrongGoroutine) {
			return fmt.Errorf("call %d gave %v", i, err)
		}
	}
	if here.t.IsClosing() || here.t.Protocol() != any(here.self) {
		return errors.New("a call from another goroutine was carried out")
	}
	return here.write([]byte("on the loop"))
}

func afterwards(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	if here.t.IsClosing() || here.t.Loop() != e.loop || here.t.Protocol() != any(here.self) {
		return errors.New("a new transport is closing, on no loop, or without its protocol")
	}
	local, peer := here.t.ExtraInfo("sockname"), here.t.ExtraInfo("peername")
	ref := here.t.Ref()
	here.close()
	there.close()
	if err := until(ctx, "both losses", func() bool { return here.ended && there.ended }); err != nil {
		return err
	}
	if err := turns(ctx, 2); err != nil {
		return err
	}
	switch {
	case here.t.ExtraInfo("sockname") != local || here.t.ExtraInfo("peername") != peer || here.t.ExtraInfo("nonsense") != nil:
		return errors.New("what was known about the connection changed with its end")
	case here.t.Protocol() != nil:
		return errors.New("the protocol is kept after the end")
	case !here.t.IsClosing() || here.t.WriteBufferSize() != 0 || here.t.IsReading():
		return errors.New("the transport seems alive after the end")
	case here.t.Ref() != ref || ref.Close() == nil:
		return errors.New("the ref of an ended transport is another one, or works")
	}
	return nil
}
