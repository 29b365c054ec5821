package records_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

const patience = 60 * time.Second

// account is a node whose account may store a megabyte, and its records.
func account(t *testing.T) (context.Context, *cluster.Node, *records.Records) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	o := &server.Options{}
	if err := o.ProcessConfigString(fmt.Sprintf(`listen: "127.0.0.1:-1"
		jetstream { store_dir: %q }
		accounts { SHOP { jetstream { max_file: 1M }, users [ { user: u, password: p } ] } }`, t.TempDir())); err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	n, err := cluster.Start(ctx, cluster.Config{Name: "a", URL: "nats://" + s.Addr().String(), User: "u", Password: "p", Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	r := records.Of(n.Inside(inside.Key{}))
	if err := write(ctx, r, "first"); err != nil { // the stream is there, and its levels are known
		t.Fatal(err)
	}
	return ctx, n, r
}

func write(ctx context.Context, r *records.Records, subject string) error {
	return r.Batch(ctx, "", []records.Write{{Subject: subject, Body: []byte("x")}})
}

// TestTheTimeIsOverWhileItLooks: who waits for room until the time is over hears that there is
// none, also when it is over while the store is asked once more. When the store has not
// answered for long, it hears that.
func TestTheTimeIsOverWhileItLooks(t *testing.T) {
	t.Parallel()
	ctx, _, r := account(t)
	defer r.Hold(1 << 20)()
	late := errors.New("too late")
	for _, c := range []struct {
		name  string
		limit time.Duration
		want  error
	}{{"it has answered", 300 * time.Millisecond, records.ErrFull}, {"it does not answer any more", 1500 * time.Millisecond, late}} {
		before, blind := r.Readings(), make(chan func(), 1)
		go func() {
			for r.Readings() == before {
				<-time.After(time.Millisecond)
			}
			blind <- r.Blind()
		}()
		limited, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("%w: %w", cluster.ErrNoQuorum, late))
		err := write(limited, r, "second")
		(<-blind)()
		cancel()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestThoseInTheLineHearThatThereIsNoRoom: several change one key in a store without room. The
// first of them waits for it; the others wait for the first, and hear the same.
func TestThoseInTheLineHearThatThereIsNoRoom(t *testing.T) {
	t.Parallel()
	ctx, n, r := account(t)
	s, err := durable.NewSink(n, "s")
	if err != nil {
		t.Fatal(err)
	}
	run := func(id string) durable.Run { return durable.Run{Owner: "o", ID: id, Token: 1} }
	put := func(tx *durable.Tx) error { return tx.Put("k", []byte("v")) }
	const many = 3
	var all, read sync.WaitGroup
	read.Add(many)
	changed := make(chan struct{})
	release := func() {}
	fill := sync.OnceFunc(func() { release = r.Hold(1 << 20) })
	for i := range many {
		all.Go(func() {
			calls := 0
			err := s.Apply(ctx, run(fmt.Sprint(i)), func(tx *durable.Tx) error {
				err := put(tx)
				if calls++; calls == 1 { // it has read what another one changes
					read.Done()
					<-changed
				} else { // it is the first of the line
					fill()
				}
				return err
			})
			if !errors.Is(err, durable.ErrFull) || errors.Is(err, cluster.ErrBusy) {
				t.Errorf("one of those that change the key hears %v, want ErrFull", err)
			}
		})
	}
	read.Wait()
	if err := s.Apply(ctx, run("other"), put); err != nil {
		t.Error(err)
	}
	close(changed)
	all.Wait()
	release()
	if err := s.Apply(ctx, run("0"), put); err != nil {
		t.Error("with room:", err)
	}
}
