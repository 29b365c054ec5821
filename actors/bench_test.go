package actors

import (
	"context"
	"testing"
)

// ringLoop is the least a loop can be: the figures are the actors' own.
type ringLoop struct {
	handLoop
	soon ring[func()]
}

func (l *ringLoop) ActorHost() Host { return l }

func (l *ringLoop) Soon(fn func()) { l.soon.push(fn) }

func (l *ringLoop) drain() {
	l.settle()
	for fn, ok := l.soon.pop(); ok; fn, ok = l.soon.pop() {
		fn()
	}
}

type ponger struct{}

func (ponger) Receive(ctx *Context) {
	if !ctx.Sender().IsZero() {
		_ = ctx.Reply(ctx.Message())
	}
}

type pinger struct {
	to   Ref
	left int
}

func (p *pinger) Receive(ctx *Context) {
	if is[Started](ctx) || p.left == 0 {
		return
	}
	p.left--
	_ = ctx.Send(p.to, ctx.Message())
}

func BenchmarkPingPongSameLoop(b *testing.B) {
	l := &ringLoop{handLoop: handLoop{name: "ring"}}
	s := system(b, quiet())
	to := spawn(b, s, l, "pong", func() Actor { return ponger{} })
	ping := &pinger{to: to, left: b.N}
	from := spawn(b, s, l, "ping", func() Actor { return ping })
	l.drain()
	must(b, s.Send(from, "ball"))
	b.ReportAllocs()
	b.ResetTimer()
	l.drain()
	if ping.left != 0 {
		b.Fatal("the ball was lost")
	}
}

func BenchmarkPingPongTwoGoroutines(b *testing.B) {
	s := system(b, quiet())
	to := spawn(b, s, newGoLoop(b, "a"), "pong", func() Actor { return ponger{} })
	done := make(chan struct{})
	left := b.N
	from := spawn(b, s, newGoLoop(b, "b"), "ping", func() Actor {
		return Func(func(ctx *Context) {
			if is[Started](ctx) {
				return
			}
			if left == 0 {
				close(done)
				return
			}
			left--
			_ = ctx.Send(to, ctx.Message())
		})
	})
	b.ReportAllocs()
	b.ResetTimer()
	must(b, s.Send(from, "ball"))
	<-done
}

func BenchmarkAskFromGoroutine(b *testing.B) {
	s := system(b, quiet())
	to := spawn(b, s, newGoLoop(b, "a"), "pong", func() Actor { return ponger{} })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Ask(context.Background(), to, "ball"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSendFromOutside(b *testing.B) {
	l := newHandLoop("hand")
	s := system(b, quiet())
	to := spawn(b, s, l, "sink", func() Actor { return Func(func(*Context) {}) })
	l.settle()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = s.Send(to, "ball")
		if i%256 == 255 {
			l.turn()
		}
	}
}

func BenchmarkSpawnAndStop(b *testing.B) {
	l := newHandLoop("hand")
	s := system(b, quiet())
	sink := func() Actor { return Func(func(*Context) {}) }
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Spawn(l, "", sink)
		if err != nil {
			b.Fatal(err)
		}
		s.Stop(r)
		l.settle()
	}
}
