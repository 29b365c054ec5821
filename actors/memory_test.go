package actors

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestAnAbandonedAskKeepsNothingAlive: the actor that was asked still holds the Ask when
// the asker has ended; what the asker's function captures is released all the same.
func TestAnAbandonedAskKeepsNothingAlive(t *testing.T) {
	l, s := onHand(t)
	var asks Ref
	silent := spawn(t, s, l, "silent", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Asked() {
				asks = ctx.Sender()
			}
		})
	})
	freed := make(chan struct{})
	asker := spawn(t, s, l, "asker", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() != "ask" {
				return
			}
			big := new([1 << 20]byte)
			runtime.AddCleanup(big, func(c chan struct{}) { close(c) }, freed)
			ctx.Ask(silent, "question", 0, func(any, error) { big[0]++ })
		})
	})
	must(t, s.Send(asker, "ask"))
	l.settle()
	if asks.IsZero() {
		t.Fatal("nobody was asked")
	}
	s.Stop(asker)
	l.settle()
	for limit := time.Now().Add(patience); ; runtime.Gosched() {
		runtime.GC()
		select {
		case <-freed:
			runtime.KeepAlive(asks)
			return
		default:
			if time.Now().After(limit) {
				t.Fatal("an Ask whose asker has ended keeps alive what its function captures")
			}
		}
	}
}

// TestALongMailboxIsLoggedWhenItHasDoubled: not for each message.
func TestALongMailboxIsLoggedWhenItHasDoubled(t *testing.T) {
	var out bytes.Buffer
	l := newHandLoop("l")
	s := system(t, Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Warn})})
	r := spawn(t, s, l, "slow", func() Actor { return Func(func(*Context) {}) })
	l.settle()
	for range 2*queueWarn + 1000 {
		must(t, s.Send(r, 1))
	}
	if lines := strings.Count(out.String(), "mailbox is long"); lines != 2 {
		t.Fatalf("%d lines for a mailbox that has passed two limits", lines)
	}
	l.settle()
}
