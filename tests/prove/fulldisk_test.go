//go:build disk && linux

package prove

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// keepIt is a command that nobody runs: it stays in the store.
var keepIt = cluster.Func("prove.keepit", func(context.Context, []byte) (struct{}, error) { return struct{}{}, nil })

const (
	diskSize = 64 << 20
	freeMost = 15 * time.Second // until writing goes on when there is room again
	oneLease = 21 * time.Second // one that is not renewed has ended then
)

// TestFullDisk fills the disk of a server, of 64 MiB, with a file of somebody else: what
// wants to write ends in an error within five seconds, calls go on, and writing goes on
// when there is room again. It needs root, for the disk.
func TestFullDisk(t *testing.T) {
	disk := smallStore(t)
	if disk == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if _, err := disk.send(); err != nil {
		t.Fatal(err)
	}
	disk.fill()
	failed := 0
	for range 10 {
		took, err := disk.send()
		if took > durableLimit {
			t.Errorf("with a full disk a command took %v to end: %v", took, err)
		}
		if err != nil {
			failed++
			t.Logf("with a full disk: %v after %v", err, took.Round(time.Millisecond))
		}
	}
	if failed == 0 {
		t.Fatal("the disk was not full: every command was stored")
	}
	ref, err := disk.c.Ref("n1/" + address)
	if err == nil {
		_, err = members.Via(disk.c).Call(ctx, ref, struct{}{})
	}
	if err != nil {
		t.Error("calls do not go on:", err)
	}
	if err := os.Remove(disk.ballast); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for {
		_, err := disk.send()
		took := time.Since(begin)
		if err == nil {
			r := history.Result{Ops: disk.n, Figures: fmt.Sprintf("%d ended in an error; again after %v", failed, took.Round(time.Millisecond))}
			fmt.Printf("\n%s\n%s\n", head, line(diskRow, 1, r, *seed))
			return
		}
		if took > freeMost {
			t.Fatalf("with room again, %v later: %v", took, err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// disk is a client and the file that fills the disk of its server.
type disk struct {
	t       *testing.T
	c       *cluster.Node
	ballast string
	n       int
}

// fill writes until there is no room.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.Create(d.ballast)
	if err != nil {
		d.t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		d.t.Fatal(err)
	}
}

// send stores one command of 64 KiB.
func (d *disk) send() (time.Duration, error) {
	d.n++
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 2*durableLimit)
	defer cancel()
	err := durable.Send(ctx, d.c, "attic", fmt.Sprintf("c-%d", d.n), keepIt, make([]byte, 64<<10))
	return time.Since(begin), err
}

// smallStore starts a server with a store of diskSize and a client of it. nil: mounting one is
// not allowed here.
func smallStore(t *testing.T) *disk {
	t.Helper()
	dir, store := t.TempDir(), t.TempDir()
	if err := syscall.Mount("tmpfs", store, "tmpfs", 0, fmt.Sprintf("size=%d", diskSize)); err != nil {
		fmt.Printf("not injected: a full disk: mounting one takes root: %v\n", err)
		return nil
	}
	t.Cleanup(func() { _ = syscall.Unmount(store, syscall.MNT_DETACH) })
	at := fmt.Sprintf("127.%d.80.1:4222", 20+os.Getpid()%200)
	folder := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(folder, shop, keys.Node{Name: "n1", Voter: true, Hosts: []string{at[:len(at)-5]}}, keys.Node{Name: "c1"}); err != nil {
		t.Fatal(err)
	}
	p := &process{role: role{Node: "n1", Keys: filepath.Join(folder, "nodes", "n1"), Dir: dir, Listen: at, Store: filepath.Join(store, "n1")}}
	t.Cleanup(func() {
		l := p.alive()
		if p.kill(); t.Failed() && l != nil {
			t.Log(last(l.errs.String()))
		}
	})
	if err := p.start(startLimit); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Config{Name: "c1", Keys: filepath.Join(folder, "nodes", "c1"), Join: []string{at}, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &disk{t: t, c: c, ballast: filepath.Join(store, "ballast")}
}

// TestAStoreThatFillsItself: commands are sent until the server's disk has no room for more.
// That is told before anything fails: a name can be claimed and released, and a lease is
// renewed.
func TestAStoreThatFillsItself(t *testing.T) {
	disk := smallStore(t)
	if disk == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	owner, err := names.Claim(ctx, disk.c, "ours", loopnode.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = disk.send()
	}
	if !errors.Is(err, durable.ErrFull) {
		t.Fatalf("after %d commands: %v", disk.n, err)
	}
	t.Logf("full after %d commands of 64 KiB: %v", disk.n, err)
	renewed := time.NewTimer(oneLease)
	defer renewed.Stop()
	select {
	case <-renewed.C:
	case <-owner.Done():
		t.Fatal("the name was lost:", owner.Err())
	}
	if !owner.Held() {
		t.Error("the lease was not renewed")
	}
	if _, err := names.Claim(ctx, disk.c, "another", loopnode.Ref{}); err != nil {
		t.Error("a name:", err)
	}
	if err := owner.Release(ctx); err != nil {
		t.Error("releasing it:", err)
	}
}
