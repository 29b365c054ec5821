package looptest

import (
	"bytes"
	"runtime"
	"strings"
	"time"
)

// Whether anybody can wake a loop that has nothing to do is read from the states of
// all goroutines: when each of them waits for another one, nothing will happen any
// more. It is asked several times with pauses, so that a goroutine on its way from
// one wait to the next counts as one that does something.
const (
	lookEvery = 5 * time.Millisecond
	looks     = 10
)

// waits are the states, in the runtime's words, that only another goroutine ends. A
// select is not among them, nor a receive, which may be from a timer's channel: time
// may end those, as a sleep and a system call. What is not seen is a function that a
// timer will call, such as the time limit of a context.
var waits = []string{
	"chan send", "sync.Mutex.Lock", "sync.RWMutex.", "sync.Cond.Wait", "sync.WaitGroup.Wait",
	"semacquire", "coroutine", "finalizer wait", "cleanup wait", "GC ", "force gc", "select (no cases)",
}

const mostStacks = 16 << 20

// allWait reports whether every goroutine but the calling one waits for another.
func allWait() bool {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	for n == len(buf) && n < mostStacks {
		buf = make([]byte, 2*n)
		n = runtime.Stack(buf, true)
	}
	if n == len(buf) {
		return false // too many to read
	}
	_, others, _ := bytes.Cut(buf[:n], []byte("\n\n")) // the first one is the caller's
	for stack := range bytes.SplitSeq(others, []byte("\n\n")) {
		if len(stack) > 0 && !waiting(string(stack)) {
			return false
		}
	}
	return true
}

// harmless are goroutines in other states that wait for nothing else: the one of
// os/signal, and those of a test that wait for the end of a part of it.
var harmless = []string{"\nos/signal.signal_recv(", "\ntesting.(*T).Run(", "\ntesting.(*B).", "\ntesting.(*M)."}

// waiting reports whether the goroutine with this stack waits for another one.
func waiting(stack string) bool {
	head, rest, _ := strings.Cut(stack, "\n")
	first, _, _ := strings.Cut(rest, "\n") // the innermost call
	for _, name := range harmless {
		if strings.HasPrefix("\n"+first, name) {
			return true
		}
	}
	_, state, _ := strings.Cut(head, "[")
	for _, w := range waits {
		if strings.HasPrefix(state, w) {
			return true
		}
	}
	return false
}
