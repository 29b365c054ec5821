package loopnode

import (
	"context"
	"runtime"
	"testing"
	"time"
)

func TestGoexitKeepsItsTurn(t *testing.T) {
	t.Run("a run of one turn stays one turn long", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []string
		late := l.CallLater(20*time.Second, func() { t.Error("the run waited for a second turn") })
		defer late.Cancel()
		l.CallSoon(func() {
			got = append(got, "first")
			l.CallSoon(func() { got = append(got, "next turn") })
			runtime.Goexit()
		})
		l.CallSoon(func() { got = append(got, "second") })
		must(t, l.RunOnce(-1))
		same(t, got, []string{"first", "second"})
		must(t, l.RunOnce(-1))
		same(t, got, []string{"first", "second", "next turn"})
	})
	t.Run("Stop makes its turn the last one", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []string
		l.CallSoon(func() { l.Stop(); l.CallSoon(func() { got = append(got, "later") }); runtime.Goexit() })
		l.CallSoon(func() { got = append(got, "same turn") })
		must(t, l.RunForever())
		same(t, got, []string{"same turn"})
	})
}

func TestCallSoonContextNil(t *testing.T) {
	l, _ := newLoop(t)
	h := l.CallSoonContext(context.Background(), nil)
	isErr(t, h.Err(), ErrInvalidArgument)
	if !h.Cancelled() {
		t.Error("accepted")
	}
}
