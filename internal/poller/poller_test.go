// The conformance test of the poller: what every system's implementation must
// do. It has no build tags; on systems without a poller it asserts that New
// says so.
package poller

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// conform runs body with a poller, or asserts that there is none to be had.
func conform(t *testing.T, body func(t *testing.T, p *Poller)) {
	t.Helper()
	p, err := New()
	if runtime.GOOS != "linux" {
		if p != nil || !errors.Is(err, ErrUnsupported) {
			t.Fatalf("New on %s = %v, %v; want ErrUnsupported", runtime.GOOS, p, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	body(t, p)
}

// pair is a connected pair of TCP sockets on loopback, portable.
type pair struct{ near, far *net.TCPConn }

func newPair(t testing.TB) pair {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return pair{near.(*net.TCPConn), far.(*net.TCPConn)}
}

// fdOf is the descriptor of a connection, which stays its owner's.
func fdOf(t testing.TB, c syscall.Conn) (fd int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(f uintptr) { fd = int(f) }); err != nil {
		t.Fatal(err)
	}
	return fd
}

func send(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

type event struct {
	owner any
	ready Events
}

// collect waits until at least n events came, or fails after ten seconds.
func collect(t testing.TB, p *Poller, n int) (got []event) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(got) < n; {
		if time.Now().After(end) {
			t.Fatalf("%d of %d events came: %v", len(got), n, got)
		}
		if _, err := p.Wait(100*time.Millisecond, func(o any, r Events) { got = append(got, event{o, r}) }); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// silence fails when anything is delivered within a few looks.
func silence(t testing.TB, p *Poller) {
	t.Helper()
	for range 3 {
		n, err := p.Wait(5*time.Millisecond, func(o any, r Events) { t.Errorf("event %v for %v", r, o) })
		if n != 0 || err != nil {
			t.Fatalf("Wait = %d, %v; want silence", n, err)
		}
	}
}

func mustAdd(t testing.TB, p *Poller, fd int, want Events, owner any) Token {
	t.Helper()
	tok, err := p.Add(fd, want, owner)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadiness(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		c := newPair(t)
		tok := mustAdd(t, p, fdOf(t, c.near), Readable, "near")
		silence(t, p)
		send(t, c.far, "x")
		for range 2 { // level-triggered: reported until it is read
			if got := collect(t, p, 1); got[0] != (event{"near", Readable}) {
				t.Fatalf("got %v", got)
			}
		}
		must(t, p.Modify(tok, Readable|Writable))
		if got := collect(t, p, 1); got[0].ready != Readable|Writable {
			t.Fatalf("got %v", got)
		}
		must(t, p.Modify(tok, Writable))
		if got := collect(t, p, 1); got[0].ready != Writable {
			t.Fatalf("got %v", got)
		}
		must(t, p.Modify(tok, 0))
		silence(t, p)
		must(t, p.Modify(tok, Readable))
		if got := collect(t, p, 1); got[0].ready != Readable {
			t.Fatalf("got %v", got)
		}
		must(t, p.Remove(tok))
		silence(t, p)
	})
}

func TestHangup(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		t.Run("wakes whoever asked, in the direction asked for", func(t *testing.T) {
			c := newPair(t)
			tok := mustAdd(t, p, fdOf(t, c.near), Readable, "near")
			must(t, c.far.Close())
			if got := collect(t, p, 1); got[0].ready&asked != Readable {
				t.Fatalf("got %v", got)
			}
			must(t, p.Remove(tok))
		})
		t.Run("does not spin when nothing is asked for", func(t *testing.T) {
			c := newPair(t)
			tok := mustAdd(t, p, fdOf(t, c.near), 0, "never asked")
			must(t, c.far.SetLinger(0)) // a reset: hang-up and error at once
			must(t, c.far.Close())
			start := time.Now()
			for range 3 {
				n, err := p.Wait(20*time.Millisecond, func(any, Events) { t.Error("delivered") })
				if n != 0 || err != nil {
					t.Fatalf("Wait = %d, %v", n, err)
				}
			}
			if d := time.Since(start); d < 60*time.Millisecond {
				t.Fatalf("three waits of 20 ms took %v: the poller does not sleep", d)
			}
			must(t, p.Modify(tok, Writable))
			if got := collect(t, p, 1); got[0].ready != Writable|Hangup|Failed {
				t.Fatalf("got %v", got)
			}
			must(t, p.Remove(tok))
		})
	})
}

func TestTimeouts(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		nothing := func(any, Events) {}
		for _, d := range []time.Duration{1, 50 * time.Microsecond, 300 * time.Microsecond, 3 * time.Millisecond, 20 * time.Millisecond} {
			start := time.Now()
			for time.Since(start) < d { // Wait may return early, as for any event
				if time.Since(start) > 10*time.Second {
					t.Fatalf("a wait of %v does not end", d)
				}
				if n, err := p.Wait(d-time.Since(start), nothing); n != 0 || err != nil {
					t.Fatalf("Wait = %d, %v", n, err)
				}
			}
		}
		start := time.Now()
		n, err := p.Wait(0, nothing)
		if n != 0 || err != nil || time.Since(start) > 5*time.Second {
			t.Fatalf("Wait(0) = %d, %v after %v", n, err, time.Since(start))
		}
	})
}

func TestSubMillisecond(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		best := time.Hour // the machine may be busy: the best of many must be good
		for range 200 {
			start := time.Now()
			if _, err := p.Wait(200*time.Microsecond, func(any, Events) {}); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d >= 200*time.Microsecond {
				best = min(best, d)
			}
		}
		if best >= time.Millisecond {
			t.Fatalf("a wait of 200 µs takes at least %v: timeouts are rounded", best)
		}
	})
}

func TestWake(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		fail := func(o any, r Events) { t.Errorf("event %v for %v", r, o) }
		t.Run("before Wait", func(t *testing.T) {
			must(t, p.Wake())
			must(t, p.Wake())
			n, err := p.Wait(-1, fail)
			if n != 0 || err != nil {
				t.Fatalf("Wait = %d, %v", n, err)
			}
			silence(t, p) // two wakes before one wait are one
		})
		t.Run("during Wait, many times, from many goroutines", func(t *testing.T) {
			const rounds = 300
			ask := make(chan struct{})
			var wg sync.WaitGroup
			for range 3 {
				wg.Add(1)
				// goroutine: owner: this test; ends when ask is closed.
				go func() {
					defer wg.Done()
					for range ask {
						if err := p.Wake(); err != nil {
							t.Error(err)
						}
					}
				}()
			}
			for range rounds {
				ask <- struct{}{}
				if _, err := p.Wait(-1, fail); err != nil {
					t.Fatal(err)
				}
			}
			close(ask)
			wg.Wait()
		})
	})
}

func TestAllocatesNothing(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		c := newPair(t)
		tok := mustAdd(t, p, fdOf(t, c.near), Readable, p)
		send(t, c.far, "x")
		each := func(any, Events) {}
		turn := func() {
			_, e1 := p.Wait(-1, each)
			_, e2 := p.Wait(time.Millisecond, each)
			_, e3 := p.Wait(0, each)
			if err := errors.Join(e1, e2, e3, p.Wake(), p.Modify(tok, 0), p.Modify(tok, Readable)); err != nil {
				t.Fatal(err)
			}
			_, err := p.Wait(10*time.Microsecond, each)
			must(t, err)
		}
		turn()
		if n := testing.AllocsPerRun(200, turn); n != 0 {
			t.Fatalf("%v allocations per turn", n)
		}
	})
}
