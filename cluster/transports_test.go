package cluster

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/loopmesh/loopmesh/actors"
)

// recorder is a connection that writes down what is asked of it.
type recorder struct {
	mu  sync.Mutex
	log []string
}

func (r *recorder) note(s string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, s)
	return nil
}

func (r *recorder) Write(b []byte) error {
	switch string(b) {
	case "refuse":
		return errors.New("the transport is closing")
	case "panic":
		panic("oops")
	}
	return r.note("write " + string(b))
}
func (r *recorder) Close() error { return r.note("close") }
func (r *recorder) Abort() error { return r.note("abort") }

func TestTransportsAreReachedByTheirAddress(t *testing.T) {
	rec := &recorder{}
	var asked actors.Address
	nodes := group(t, 2)
	ctx := testCtx(t)
	far, err := nodes[0].Transport("n2/io-0/srv:7000/c42")
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, far.Write(ctx, []byte("early")), ErrUnknownTransport)
	nodes[1].SetTransports(TransportLookup(func(addr actors.Address) (TransportRef, bool) {
		asked = addr
		return rec, addr.Path == "io-0/srv:7000/c42"
	}))
	near, err := nodes[1].Transport("n2/io-0/srv:7000/c42")
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range []RemoteTransport{far, near} {
		for i, step := range []error{tr.Write(ctx, []byte("hello")), tr.Close(ctx), tr.Abort(ctx)} {
			if step != nil {
				t.Errorf("%v, step %d: %v", tr.Address(), i, step)
			}
		}
		if err := tr.Write(ctx, []byte("refuse")); err == nil || !strings.Contains(err.Error(), "closing") {
			t.Errorf("got %v", err)
		}
		wantIs(t, tr.Write(ctx, make([]byte, 2<<20)), ErrTooLarge)
	}
	wantIs(t, far.Write(ctx, []byte("panic")), ErrPanic)
	if asked.Path != "io-0/srv:7000/c42" {
		t.Errorf("asked for %v", asked)
	}
	if got := fmt.Sprint(rec.log); got != "[write hello close abort write hello close abort]" {
		t.Errorf("got %s", got)
	}
	other, _ := nodes[0].Transport(fmt.Sprintf("n2@%d/io-0/x", nodes[1].Incarnation()-1))
	wantIs(t, other.Abort(ctx), ErrDeadIncarnation)
	missing, _ := nodes[0].Transport("n9/io-0/x")
	wantIs(t, missing.Abort(ctx), ErrUnknownNode)
	if _, err := nodes[0].Transport("nonsense"); !errors.Is(err, actors.ErrBadAddress) {
		t.Errorf("got %v", err)
	}
}
