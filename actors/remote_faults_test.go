package actors

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// elsewhere makes a system whose messages for other nodes are only written down.
func elsewhere(t *testing.T, opts Options) (s *System, sent *[]envelope) {
	s, sent = system(t, opts), new([]envelope)
	s.Identify("here", 1)
	s.RouteRemote(func(to Address, msg any, sender Ref) error {
		*sent = append(*sent, envelope{msg, RefOf(s.Export(sender))})
		return nil
	})
	return s, sent
}

var far = RefOf(Address{Node: "b", Incarnation: 7, Path: "x"})

func TestANodesEndSettlesItsOpenAsksAtOnce(t *testing.T) {
	s, _ := elsewhere(t, quiet())
	var got []error
	note := func(_ any, err error) { got = append(got, err) }
	s.AskFunc(far, "q", note)
	s.AskFunc(RefOf(Address{Node: "b", Path: "x"}), "q", note)
	s.AskFunc(RefOf(Address{Node: "b", Incarnation: 8, Path: "x"}), "q", note)
	s.NodeDown("b", 7)
	s.NodeDown("b", 7)
	if len(got) != 2 || !errors.Is(got[0], ErrNodeDown) || !errors.Is(got[1], ErrNodeDown) {
		t.Fatal(got)
	}
	s.NodeDown("b", 0)
	if len(got) != 3 || len(s.registered) != 0 {
		t.Fatalf("%v, %d names are kept", got, len(s.registered))
	}
}

func TestAnAskOfAnotherNodeHasADeadlineOfItsOwn(t *testing.T) {
	o := quiet()
	o.AskTimeout = 20 * time.Millisecond
	s, sent := elsewhere(t, o)
	if _, err := s.Ask(t.Context(), far, "q"); err == nil || !strings.Contains(err.Error(), "has not answered within 20ms") {
		t.Fatal(err)
	}
	if last := (*sent)[len(*sent)-1]; last.msg != (WithdrawRequest{}) || last.sender != (*sent)[0].sender {
		t.Fatalf("the other node is not told: %v", last)
	}
	l := newHandLoop("l")
	var got error
	spawn(t, s, l, "a", func() Actor {
		return Func(func(ctx *Context) {
			if is[Started](ctx) {
				ctx.Ask(far, "q", 0, func(_ any, err error) { got = err })
			}
		})
	})
	l.settle()
	l.advance(time.Second)
	if got == nil || len(s.registered) != 0 {
		t.Fatal(got, len(s.registered))
	}
}

func TestAWithdrawnAskOfAnotherNodeIsForgotten(t *testing.T) {
	s, sent := elsewhere(t, quiet())
	l := newHandLoop("l")
	r := spawn(t, s, l, "mute", func() Actor { return Func(func(*Context) {}) })
	asker := RefOf(Address{Node: "b", Incarnation: 7, Path: "$reply/1"})
	must(t, s.Deliver(s.Export(r), "q", asker, nil))
	l.settle()
	if n := r.at.(*cell).info().Asks; n != 1 {
		t.Fatal(n)
	}
	must(t, s.Deliver(s.Export(r), WithdrawRequest{}, asker, nil))
	if n := r.at.(*cell).info().Asks; n != 0 || len(s.remoteAsks) != 0 || r.at.(*cell).remoteAsks.Load() != 0 {
		t.Fatalf("%d Asks are kept, %d on the books", n, len(s.remoteAsks))
	}
	must(t, s.Deliver(s.Export(r), "q", asker, nil))
	l.settle()
	s.NodeDown("b", 7)
	if n := r.at.(*cell).info().Asks; n != 0 || len(*sent) != 0 {
		t.Fatalf("%d Asks of a node that has ended are kept, %d messages sent", n, len(*sent))
	}
}

func TestAsksThatNobodyAnswersAreBoundedForOtherNodes(t *testing.T) {
	o := quiet()
	o.RemoteLimit = 3
	s, _ := elsewhere(t, o)
	l := newHandLoop("l")
	r := spawn(t, s, l, "mute", func() Actor { return Func(func(*Context) {}) })
	for i := range 4 {
		err := s.Deliver(s.Export(r), "q", RefOf(Address{Node: "b", Incarnation: 7, Path: fmt.Sprint("$reply/", i)}), nil)
		if full := errors.Is(err, ErrMailboxFull); full != (i == 3) {
			t.Fatal(i, err)
		}
		l.settle()
	}
	if n := r.at.(*cell).remoteAsks.Load(); n != 3 {
		t.Fatal(n)
	}
}

func TestAnAnswerThatCannotBeSentBecomesAShortError(t *testing.T) {
	s := system(t, quiet())
	s.Identify("here", 1)
	var sent []any
	s.RouteRemote(func(_ Address, msg any, _ Ref) error {
		if r, ok := msg.(Refusal); ok && len(r.Err.Error()) < 2*refusalText {
			sent = append(sent, msg)
			return nil
		}
		return errors.New("the payload of 9000000 bytes is above the limit" + strings.Repeat(".", 4096))
	})
	l := newHandLoop("l")
	var replied error
	r := spawn(t, s, l, "a", func() Actor {
		return Func(func(ctx *Context) {
			switch ctx.Message() {
			case "large":
				replied = ctx.Reply(make([]byte, 9_000_000))
			case "refuse":
				_ = ctx.ReplyError(errors.New(strings.Repeat("x", 9_000_000)))
			}
		})
	})
	for i, q := range []string{"large", "refuse"} {
		must(t, s.Deliver(s.Export(r), q, RefOf(Address{Node: "b", Incarnation: 7, Path: fmt.Sprint("$reply/", i)}), nil))
		l.settle()
		if len(sent) != i+1 {
			t.Fatalf("%s: the asker hears nothing", q)
		}
	}
	if r := sent[0].(Refusal); !errors.Is(r.Err, ErrAnswerLost) || replied == nil {
		t.Fatal(r.Err, replied)
	}
}

func TestAWatchRouteCarriesWatchesOfOtherNodes(t *testing.T) {
	s, sent := elsewhere(t, quiet())
	var ends []func(error)
	cancelled := 0
	s.RouteWatches(func(to Address, ended func(error)) func() {
		if to != far.Address() {
			t.Errorf("%v", to)
		}
		ends = append(ends, ended)
		return func() { cancelled++ }
	})
	l := newHandLoop("l")
	var b book
	var self *Context
	spawn(t, s, l, "w", func() Actor {
		return Func(func(ctx *Context) {
			self = ctx
			if e, ok := ctx.Message().(Terminated); ok {
				b.add("%s: %v", e.Who, e.Reason)
			}
		})
	})
	l.settle()
	self.Watch(far)
	self.Watch(far)
	self.Unwatch(far)
	self.Watch(far)
	ends[0](errors.New("stale")) // news of the watch that was taken back
	l.settle()
	b.want(t)
	s.NodeDown("b", 7) // the route tells of it
	ends[1](ErrNodeDown)
	ends[1](ErrNodeDown)
	l.settle()
	b.want(t, "b@7/x: "+ErrNodeDown.Error())
	calls := 0
	stop := s.Watch(far, func(Terminated) { calls++ })
	stop()
	s.Watch(far, func(Terminated) { calls += 10 })
	ends[3](ErrStopped)
	if len(ends) != 4 || cancelled != 2 || calls != 10 || len(*sent) != 0 {
		t.Fatal(len(ends), cancelled, calls, *sent)
	}
}

func TestRequestsOfOtherNodesAreBoundedWhileTheLoopStandsStill(t *testing.T) {
	o := quiet()
	o.RemoteLimit = 3
	s, _ := elsewhere(t, o)
	l := newHandLoop("l")
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	l.settle()
	for i := range 4 {
		err := s.Deliver(s.Export(r), StopRequest{}, Ref{}, nil)
		if full := errors.Is(err, ErrMailboxFull); full != (i == 3) {
			t.Fatal(i, err)
		}
	}
	l.settle()
}

func TestTheCreditOfAMessageComesBackWhenItLeavesTheMailbox(t *testing.T) {
	s, _ := elsewhere(t, quiet())
	l := newHandLoop("l")
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	l.settle()
	taken := 0
	deliver := func() error { return s.Deliver(s.Export(r), "m", Ref{}, func() { taken++ }) }
	must(t, deliver())
	must(t, deliver())
	if taken != 0 {
		t.Fatal("before it was handled")
	}
	l.settle()
	if taken != 2 {
		t.Fatal(taken)
	}
	must(t, deliver())
	s.Stop(r)
	l.settle() // dropped
	if taken != 3 {
		t.Fatal(taken)
	}
	if err := deliver(); err == nil || taken != 3 {
		t.Fatal(err, taken)
	}
}
