package nodecmd

import (
	"context"
	"os"
	"slices"
	"sync"
)

// The signals of the process. Main ends the command with the first one and the process with
// the second. A command for which they mean something else takes them over for a while:
// proc run forwards them, and for start SIGHUP means that it reads its configuration again.

// Why not signal.Notify a second time? Both would get each signal, and Main would end the
// process with the second Ctrl-C before the command has sent anything. And why not ctx alone?
// Its end does not say which signal it was, and comes once.
//
// interrupts is where Main hands signals on. Any goroutine.
type interrupts struct {
	mu    sync.Mutex
	taken chan os.Signal // nil: Main acts on them
	only  []os.Signal    // that were taken; none: all
}

type interruptsKey struct{}

// interruptsOf is that of Main; one that nobody feeds where there is no Main.
func interruptsOf(ctx context.Context) *interrupts {
	if i, ok := ctx.Value(interruptsKey{}).(*interrupts); ok {
		return i
	}
	return &interrupts{}
}

// take has the signals that follow sent to the channel, until release: all, or only these.
func (i *interrupts) take(only ...os.Signal) (signals <-chan os.Signal, release func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.taken, i.only = make(chan os.Signal, 8), only
	return i.taken, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.taken = nil
	}
}

// pass reports whether somebody has taken the signal. One that finds eight before it, which
// nobody has looked at yet, says nothing new.
func (i *interrupts) pass(s os.Signal) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.taken == nil || len(i.only) > 0 && !slices.Contains(i.only, s) {
		return false
	}
	select {
	case i.taken <- s:
	default:
	}
	return true
}
