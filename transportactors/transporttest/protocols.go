package transporttest

import (
	"context"
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/transportactors"
)

var protocolChecks = []check{
	{"TRN-11 BUF-05 the protocol can change at any time, also to and from a buffered one", nil, exchange},
	{"TRN-11 the protocol can change inside each call", nil, exchangeInside},
	{"TRN-14 CON-03 BUF-03 a panic in any method ends its connection with it, reported, and no other", nil, panics},
	{"PRO-05 methods a protocol lacks are not called", nil, bare},
}

// takeOver makes p the protocol of old's transport.
func (p *probe) takeOver(old *probe) {
	p.t, p.log, p.full = old.t, append([]string{}, "made"), old.full
	old.t.SetProtocol(p.self)
}

func exchange(ctx context.Context, e *env) error {
	here, first, err := e.pair(ctx)
	if err != nil {
		return err
	}
	second, third := e.probe("second"), e.probe("third")
	newReader(second, 4)
	if err := here.write([]byte("first")); err != nil {
		return err
	}
	if err := until(ctx, "first", func() bool { return string(first.data) == "first" }); err != nil {
		return err
	}
	second.takeOver(first)
	if second.t.Protocol() != any(second.self) {
		return errors.New("the new protocol is not the transport's")
	}
	if err := here.write([]byte("second")); err != nil {
		return err
	}
	if err := until(ctx, "second", func() bool { return string(second.data) == "second" }); err != nil {
		return err
	}
	third.takeOver(second)
	if err := here.write([]byte("third")); err != nil {
		return err
	}
	here.close()
	if err := until(ctx, "the loss", func() bool { return third.ended }); err != nil {
		return err
	}
	first.t, second.t = nil, nil
	return errors.Join(first.heard("made", "data"), second.heard("made", "data"), third.heard("made", "data", "eof", "lost"),
		third.got([]byte("third")))
}

func exchangeInside(ctx context.Context, e *env) error {
	for _, call := range []string{"made", "data", "eof", "buffer"} {
		here, there, next := e.probe("here"), e.probe("there"), e.probe("next after "+call)
		change := func() { next.takeOver(there) }
		switch call {
		case "made":
			there.onMade = change
		case "data":
			there.onData = func([]byte) { change() }
		case "eof":
			there.onEOF = func() bool { change(); return false }
		case "buffer":
			newReader(there, 9)
			there.onData = func([]byte) { change() }
		}
		if err := e.connect(ctx, here, there); err != nil {
			return err
		}
		if err := here.write([]byte("one")); err != nil {
			return err
		}
		if err := until(ctx, "one", func() bool { return len(there.data)+len(next.data) == 3 }); err != nil {
			return err
		}
		if err := here.write([]byte("two")); err != nil {
			return err
		}
		here.close()
		if err := until(ctx, "the loss", func() bool { return next.ended }); err != nil {
			return fmt.Errorf("changing in %s: %w", call, err)
		}
		if all := string(there.data) + string(next.data); all != "onetwo" || there.ended {
			return fmt.Errorf("changing in %s: %q, and the old one %v", call, all, there.log)
		}
		there.t = nil
	}
	return nil
}

func panics(ctx context.Context, e *env) error {
	good, other, err := e.pair(ctx)
	if err != nil {
		return err
	}
	for _, call := range []string{"made", "data", "eof", "pause", "resume", "lost", "buffer", "updated"} {
		here, there := e.probe("here"), e.probe("there")
		bad := there
		boom := func() { panic(call) }
		switch call {
		case "made":
			bad.onMade = boom
		case "data":
			bad.onData = func([]byte) { boom() }
		case "eof":
			bad.onEOF = func() bool { panic(call) }
		case "pause":
			bad = here
			bad.onPause = boom
		case "resume":
			bad = here
			bad.onResume = boom
		case "lost":
			bad.onLost = boom
		case "buffer":
			newReader(bad, 9).before = boom
		case "updated":
			newReader(bad, 9)
			bad.onData = func([]byte) { boom() }
		}
		if err := e.failing(ctx, here, there, bad, call); err != nil {
			return fmt.Errorf("a panic in %s: %w", call, err)
		}
	}
	if err := good.write([]byte("fine")); err != nil {
		return err
	}
	return until(ctx, "the other connection", func() bool { return string(other.data) == "fine" })
}

// failing connects, makes every call happen, and looks what became of bad.
func (e *env) failing(ctx context.Context, here, there, bad *probe, call string) error {
	e.told = nil
	// A way to make pairs may tell of a panic in ConnectionMade itself.
	if err := e.connect(ctx, here, there); err != nil && call != "made" {
		return err
	}
	if here.t != nil && !here.t.IsClosing() {
		_ = here.write(make([]byte, e.much)) // the other end may be gone
		here.act(func() { here.t.Close() })
	}
	if err := until(ctx, "the losses", func() bool { return (here.t == nil || here.ended) && there.ended }); err != nil {
		return err
	}
	var p *guard.Panic
	// A pipe's loss is decided before it tells the end of the input.
	decided := call == "lost" || call == "eof" && e.kind.OneWay
	if !decided && (!errors.As(bad.reason, &p) || p.Value != any(call)) {
		return fmt.Errorf("the reason is %v", bad.reason)
	}
	if len(e.told) != 1 || !errors.As(e.told[0].Exception, &p) || p.Value != any(call) {
		return fmt.Errorf("the exception handler heard %v", e.told)
	}
	if told := e.told[0]; told.Message == "" || told.Transport == nil || told.Protocol != any(bad.self) {
		return fmt.Errorf("the report lacks something: %v", told)
	}
	return nil
}

// minimal has the three methods that a Protocol needs, and no more.
type minimal struct {
	t    transportactors.Transport
	data []byte
	lost bool
}

func (m *minimal) ConnectionMade(t transportactors.Transport) { m.t = t }
func (m *minimal) DataReceived(b []byte)                      { m.data = append(m.data, b...) }
func (m *minimal) ConnectionLost(error)                       { m.lost = true }

func bare(ctx context.Context, e *env) error {
	here, there := &minimal{}, &minimal{}
	if err := e.kind.Pair(ctx, here, there); err != nil {
		return err
	}
	if err := until(ctx, "ConnectionMade", func() bool { return here.t != nil && there.t != nil }); err != nil {
		return err
	}
	if err := here.t.Write(pattern(0, e.much)); err != nil { // no PauseWriting
		return err
	}
	here.t.Close()
	if err := until(ctx, "both losses", func() bool { return here.lost && there.lost }); err != nil { // no EOFReceived
		return err
	}
	if len(there.data) != e.much || len(e.told) != 0 {
		return fmt.Errorf("%d bytes, %v", len(there.data), e.told)
	}
	return e.deafMute(ctx)
}

// deafMute has a protocol with no methods at all in the middle of a stream.
func (e *env) deafMute(ctx context.Context) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	tr := there.t
	tr.SetProtocol(struct{}{})
	if err := here.write([]byte("nobody hears")); err != nil {
		return err
	}
	here.close()
	if err := until(ctx, "the end", func() bool { return tr.IsClosing() && tr.Protocol() == nil }); err != nil {
		return err
	}
	there.t = nil
	if len(e.told) != 0 {
		return fmt.Errorf("the exception handler heard %v", e.told)
	}
	return nil
}
