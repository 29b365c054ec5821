package loopnode

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestABatchSharesTheOnlyProcessor(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	l, _ := newLoop(t)
	const callbacks = 200
	var ran atomic.Bool
	waited := 0
	busy := func() {
		if !ran.Load() {
			waited++
		}
		for began := time.Now(); time.Since(began) < 2*shareAfter; {
			continue // as a callback that reads and writes
		}
	}
	l.CallSoon(func() { go ran.Store(true) }) // ends at once
	for range callbacks {
		l.CallSoon(busy)
	}
	runTurns(t, l, 1)
	if waited > callbacks/10 {
		t.Errorf("a goroutine waited for %d of %d callbacks of one batch", waited, callbacks)
	}
}
