package engine

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// slowServer passes bytes on to a NATS server, which is heard after a delay only.
type slowServer struct {
	net.Listener
	to    string
	delay atomic.Int64 // ns before the greeting
	mu    sync.Mutex
	ends  []net.Conn
	work  sync.WaitGroup
}

func slow(t *testing.T, to string) *slowServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &slowServer{Listener: l, to: to}
	s.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.work.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.cut()
		s.work.Wait()
	})
	return s
}

func (s *slowServer) serve(c net.Conn) {
	s.mu.Lock()
	s.ends = append(s.ends, c)
	s.mu.Unlock()
	<-time.After(time.Duration(s.delay.Load()))
	far, err := net.Dial("tcp", s.to)
	if err != nil {
		_ = c.Close()
		return
	}
	s.mu.Lock()
	s.ends = append(s.ends, far)
	s.mu.Unlock()
	s.work.Go(func() { _, _ = io.Copy(far, c); _ = far.Close() })
	_, _ = io.Copy(c, far)
	_ = c.Close()
}

// cut ends all connections.
func (s *slowServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.ends {
		_ = c.Close()
	}
	s.ends = nil
}

// TestTheDeadlineOfTheStartIsNotThatOfAReconnect: a server that takes longer to greet
// than the start was allowed to take is reached all the same later.
func TestTheDeadlineOfTheStartIsNotThatOfAReconnect(t *testing.T) {
	a := opened(t, Config{Node: "a", Listen: "127.0.0.1:0"})
	way := slow(t, at(a))
	back := make(chan Kind, 30)
	const allowed = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), allowed)
	defer cancel()
	b, err := Open(ctx, Config{
		Node: "b", Number: nextNumber(), Cluster: "shop", Join: []string{way.Addr().String()}, Log: hclog.NewNullLogger(),
		Events: Events{Back: func(k Kind) { back <- k }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	<-ctx.Done()
	way.delay.Store(int64(allowed + 500*time.Millisecond))
	way.cut()
	for seen := map[Kind]bool{}; len(seen) < 3; {
		seen[receive(t, "the next connection", back)] = true
	}
	hears(t, a, "b", inbox(t, b))
}

// TestAStartEndsWithItsContext: a server that does not greet does not hold it up.
func TestAStartEndsWithItsContext(t *testing.T) {
	way := slow(t, "127.0.0.1:1")
	way.delay.Store(int64(2 * time.Second))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := Open(ctx, Config{Node: "b", Number: nextNumber(), Cluster: "shop", Join: []string{way.Addr().String()}, Log: hclog.NewNullLogger()})
	wantIs(t, err, ErrDisconnected)
	wantIs(t, err, context.DeadlineExceeded)
	if took := time.Since(begin); took > 1500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

// TestAnAbortedNodeSpeaksToNobody: what has arrived is not handled any more.
func TestAnAbortedNodeSpeaksToNobody(t *testing.T) {
	a := opened(t, Config{Node: "a", Listen: "127.0.0.1:0"})
	b := opened(t, Config{Node: "b", Join: []string{at(a)}})
	got := inbox(t, b)
	hears(t, a, "b", got)
	b.Abort()
	wantIs(t, b.Control().Publish(b.Subjects.To("a", 0), "", nil), ErrClosed)
	wantIs(t, b.Bulk().Publish(b.Subjects.BulkTo("a", 0), "", nil), ErrClosed)
	if err := a.Control().Publish(a.Subjects.To("b", 0), "", []byte("behind")); err != nil {
		t.Error(err)
	}
	b.Close()
	for len(got) > 0 { // what hears has sent again while the first one was late came before
		if m := <-got; string(m.Data) == "behind" {
			t.Error("it heard what was sent when it was aborted")
		}
	}
}

// TestJoiningWhatIsNoNode: each kind of stranger is told apart, within the time that a
// server has to greet.
func TestJoiningWhatIsNoNode(t *testing.T) {
	for name, c := range map[string]struct {
		says  string // nothing: it waits
		close bool
		want  string
	}{
		"nobody":                   {want: "nobody listens at"},
		"a server that is silent":  {want: "did not greet within"},
		"a server of another kind": {says: "220 mail.example ESMTP\r\n", want: "no NATS server"},
		"one that closes":          {close: true, want: "no NATS server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // one of them waits for seconds
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var served sync.WaitGroup
			defer served.Wait()
			defer l.Close()
			if name == "nobody" {
				_ = l.Close()
			}
			served.Go(func() { // until l is closed
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					served.Go(func() {
						defer conn.Close()
						_, _ = io.WriteString(conn, c.says)
						if !c.close {
							_, _ = io.Copy(io.Discard, conn)
						}
					})
				}
			})
			begin := time.Now()
			_, err = attempt(t, Config{Node: "x", Join: []string{l.Addr().String()}})
			wantIs(t, err, ErrDisconnected)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "nats://"+l.Addr().String()) != 1 {
				t.Errorf("%v", err)
			}
			if took := time.Since(begin); took > 3*handshake {
				t.Errorf("it took %v", took)
			}
		})
	}
}
