package loopnode

import (
	"context"
	"testing"
)

func TestPerLoop(t *testing.T) {
	made := 0
	counts := &PerLoop[*int]{New: func(l *Loop) *int { made++; n := new(int); l.OnClose(func() { *n = -1 }); return n }}
	var names PerLoop[string]
	a, _ := newLoop(t)
	b, _ := newLoop(t)
	first, err := counts.On(a)
	must(t, err)
	again, err := counts.From(a.Context(context.Background()))
	must(t, err)
	other, err := counts.On(b)
	must(t, err)
	if first != again || first == other || made != 2 {
		t.Error("one value for each loop, made once:", first == again, first == other, made)
	}
	must(t, names.Set(a, "a"))
	onA, err := names.On(a)
	must(t, err)
	onB, err := names.On(b)
	must(t, err)
	if onA != "a" || onB != "" {
		t.Errorf("%q, %q", onA, onB)
	}
	must(t, a.Close())
	_, err = counts.On(a)
	isErr(t, err, ErrLoopClosed)
	if *first != -1 {
		t.Error("the value could not follow the close of its loop")
	}
	_, err = counts.From(context.Background())
	isErr(t, err, ErrNoRunningLoop)
	_, err = counts.On(nil)
	isErr(t, err, ErrInvalidArgument)
}

func TestPerLoopBelongsToTheLoop(t *testing.T) {
	var names PerLoop[string]
	l, _ := newLoop(t, func(c *Config) { c.Debug = true })
	elsewhere := make(chan error, 1)
	l.CallSoon(func() {
		// goroutine: owner: the test; ends at once.
		go func() { elsewhere <- names.Set(l, "x") }()
		isErr(t, comes(t, elsewhere), ErrWrongGoroutine)
		l.Stop()
	})
	must(t, l.RunForever())
}
