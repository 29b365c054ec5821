package guard

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func failHere(v any) { panic(v) }

func TestCall(t *testing.T) {
	if p := Call(func() {}); p != nil {
		t.Fatalf("a function that returned: %v", p)
	}
	p := Call(func() { failHere(io.EOF) })
	if p == nil || !errors.Is(p, io.EOF) || p.Error() != "panic: EOF" {
		t.Fatalf("a function that panicked: %v", p)
	}
	if !strings.Contains(string(p.Stack), "failHere") || callName(p) != "failHere" {
		t.Fatalf("the panic came from %s:\n%s", callName(p), p.Stack)
	}
	if again := Call(func() { panic(p) }); again != p {
		t.Fatalf("panicked with again, the first stack is lost: %v", again)
	}
	var none *int
	if p := Call(func() { *none = 1 }); p == nil || !strings.Contains(callName(p), "TestCall") {
		t.Fatalf("a fault came from %s", callName(p))
	}
}

// callName names the innermost call of the panic.
func callName(p *Panic) string {
	f, _ := runtime.CallersFrames(p.Calls).Next()
	return f.Function[strings.LastIndexByte(f.Function, '/')+1:][len("guard."):]
}

func TestCallWholeHearsOfEveryEnd(t *testing.T) {
	exits := 0
	exited := func() { exits++ }
	if p := CallWhole(func() {}, exited); p != nil || exits != 0 {
		t.Fatalf("returned: %v, %d exits", p, exits)
	}
	if p := CallWhole(func() { panic("x") }, exited); p == nil || exits != 0 {
		t.Fatalf("panicked: %v, %d exits", p, exits)
	}
	inGoroutine(func() { CallWhole(runtime.Goexit, exited) })
	if exits != 1 {
		t.Fatalf("Goexit: %d exits", exits)
	}
}

func TestDrainRunsEveryStep(t *testing.T) {
	for name, bad := range map[string]func(){"panic": func() { panic("x") }, "Goexit": runtime.Goexit} {
		var ran []int
		inGoroutine(func() {
			defer func() { _ = recover() }()
			Drain(func() bool {
				n := len(ran)
				ran = append(ran, n)
				if n == 1 || n == 2 {
					bad()
				}
				return n < 4
			})
		})
		if len(ran) != 5 {
			t.Errorf("%s: %d of 5 steps ran", name, len(ran))
		}
	}
}

// inGoroutine runs fn on a goroutine that fn may end.
func inGoroutine(fn func()) {
	done := make(chan struct{})
	// goroutine: owner: this test; ends with fn.
	go func() {
		defer close(done)
		fn()
	}()
	<-done
}
