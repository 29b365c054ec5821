package poller

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestStale(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		a, b := newPair(t), newPair(t)
		send(t, a.far, "x")
		send(t, b.far, "x")
		t.Run("an event of a registration removed in the same batch is dropped", func(t *testing.T) {
			tokens := map[string]Token{
				"a": mustAdd(t, p, fdOf(t, a.near), Readable, "a"),
				"b": mustAdd(t, p, fdOf(t, b.near), Readable, "b"),
			}
			other := map[string]string{"a": "b", "b": "a"}
			var first string
			for deadline := time.Now().Add(10 * time.Second); first == "" && time.Now().Before(deadline); {
				_, err := p.Wait(time.Second, func(o any, _ Events) {
					if first != "" {
						t.Errorf("%v was delivered after it was removed", o)
						return
					}
					first = o.(string)
					must(t, p.Remove(tokens[other[first]]))
				})
				must(t, err)
			}
			must(t, p.Remove(tokens[first]))
		})
		t.Run("a reused slot does not inherit the events of its former owner", func(t *testing.T) {
			one, two := mustAdd(t, p, fdOf(t, a.near), Readable, "one"), mustAdd(t, p, fdOf(t, b.near), Readable, "two")
			done, quiet := false, newPair(t)
			var late Token
			_, err := p.Wait(time.Second, func(o any, _ Events) {
				if done {
					t.Errorf("%v got an event that was not its own", o)
					return
				}
				done = true
				must(t, p.Remove(one))
				must(t, p.Remove(two))
				late = mustAdd(t, p, fdOf(t, quiet.near), Readable, "late")
			})
			must(t, err)
			if !done {
				t.Fatal("nothing was ready")
			}
			silence(t, p)
			must(t, p.Remove(late))
		})
		t.Run("what is no longer wanted in the batch is not delivered", func(t *testing.T) {
			one, two := mustAdd(t, p, fdOf(t, a.near), Readable, "one"), mustAdd(t, p, fdOf(t, b.near), Readable, "two")
			calls := 0
			_, err := p.Wait(time.Second, func(any, Events) {
				calls++
				must(t, p.Modify(one, 0))
				must(t, p.Modify(two, 0))
			})
			must(t, err)
			if calls != 1 {
				t.Fatalf("%d calls", calls)
			}
			must(t, p.Remove(one))
			must(t, p.Remove(two))
		})
		t.Run("a token works once", func(t *testing.T) {
			tok := mustAdd(t, p, fdOf(t, a.near), Readable, "x")
			must(t, p.Remove(tok))
			again := mustAdd(t, p, fdOf(t, a.near), Readable, "y")
			if again == tok || again.IsZero() || !(Token{}).IsZero() {
				t.Fatalf("token %v after %v", again, tok)
			}
			for _, err := range []error{p.Remove(tok), p.Modify(tok, Readable), p.Remove(Token{}), p.Modify(Token{}, 0)} {
				if !errors.Is(err, ErrStale) {
					t.Fatalf("stale token: %v", err)
				}
			}
			must(t, p.Remove(again))
		})
	})
}

func TestErrors(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		f, err := os.CreateTemp(t.TempDir(), "plain")
		must(t, err)
		defer f.Close()
		for _, want := range []Events{Readable, 0} {
			if _, err := p.Add(fdOf(t, f), want, nil); !errors.Is(err, syscall.EPERM) {
				t.Errorf("regular file, want %v: %v", want, err)
			}
		}
		for _, fd := range []int{-1, 1 << 20} {
			if _, err := p.Add(fd, Readable, nil); !errors.Is(err, syscall.EBADF) {
				t.Errorf("descriptor %d: %v", fd, err)
			}
		}
		c := newPair(t)
		tok := mustAdd(t, p, fdOf(t, c.near), Readable, "first")
		if _, err := p.Add(fdOf(t, c.near), Writable, "second"); !errors.Is(err, syscall.EEXIST) {
			t.Errorf("second Add: %v", err)
		}
		send(t, c.far, "x")
		if got := collect(t, p, 1); got[0] != (event{"first", Readable}) {
			t.Errorf("after a refused Add: %v", got)
		}
		must(t, p.Remove(tok))
	})
}

func TestClosed(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		c := newPair(t)
		send(t, c.far, "x")
		tok := mustAdd(t, p, fdOf(t, c.near), Readable, "near")
		n, err := p.Wait(-1, func(any, Events) { must(t, p.Close()) })
		if n != 1 || err != nil {
			t.Fatalf("Wait with Close inside = %d, %v", n, err)
		}
		_, add := p.Add(0, Readable, nil)
		_, wait := p.Wait(0, func(any, Events) {})
		for i, err := range []error{add, wait, p.Modify(tok, 0), p.Remove(tok), p.Wake()} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("call %d after Close: %v", i, err)
			}
		}
		must(t, p.Close())
	})
}
