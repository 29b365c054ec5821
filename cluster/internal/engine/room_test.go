package engine

import (
	"context"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var storedStream = jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.>"}}

// TestJetStreamComesBack logs what the server does when its disk is full: JetStream is shut
// down and started again by itself, and what was stored is there. (make prove fills a disk.)
func TestJetStreamComesBack(t *testing.T) {
	e := opened(t, Config{Node: "a", StoreDir: t.TempDir()})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	js, err := e.JetStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, storedStream); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "kept.1", []byte("before")); err != nil {
		t.Fatal(err)
	}
	e.server.log.Warnf("JetStream failed to store a msg on stream '%s > %s': %v", "a", "b", &fs.PathError{Op: "write", Path: "1.blk", Err: syscall.ENOSPC})
	for _, on := range []bool{false, true} {
		// Asked while the server still starts it, its answer would race with the server's own writes.
		for e.server.nats.JetStreamEnabled() != on || on && e.server.reviving.Load() {
			select {
			case <-ctx.Done():
				t.Fatalf("JetStream is on: %v", !on)
			case <-time.After(time.Millisecond):
			}
		}
	}
	if js, err = e.JetStream(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, storedStream.Name)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.GetMsg(ctx, 1); err != nil || string(m.Data) != "before" {
		t.Fatal(m, err)
	}
	if ack, err := js.Publish(ctx, "kept.2", nil); err != nil || ack.Sequence != 2 {
		t.Fatal(ack, err)
	}
}
