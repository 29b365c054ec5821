package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// held is a connection on a loop of a node, and its peer.
type held struct {
	address string // node/…
	made    chan transportactors.Transport
	lost    chan error
	client  *net.TCPConn
}

func (h *held) ConnectionMade(t transportactors.Transport) { h.made <- t }
func (h *held) DataReceived([]byte)                        {}
func (h *held) ConnectionLost(err error)                   { h.lost <- err }

// serveOne makes a connection on a loop of n that others can write to.
func serveOne(t testing.TB, n *Node, loop loopnode.Ref, opts ...transportactors.ServerOption) (*held, transportactors.Transport) {
	t.Helper()
	h := &held{made: make(chan transportactors.Transport, 1), lost: make(chan error, 1)}
	l, _ := loop.Local()
	server := loopnode.RunCoroutineThreadsafe(loop, "serve", func(ctx context.Context) (*transportactors.Server, error) {
		return transportactors.CreateServer(ctx, func() transportactors.Protocol { return h }, "tcp", "127.0.0.1:0", opts...)
	})
	s, err := server.Wait(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	h.client = c.(*net.TCPConn)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	tr := receive(t, "the connection", h.made)
	path := make(chan string, 1)
	on(t, l, func() { path <- tr.Ref().Address().Path })
	h.address = n.Name() + "/" + receive(t, "its address", path)
	return h, tr
}

func on(t testing.TB, l *loopnode.Loop, fn func()) {
	t.Helper()
	if err := l.Ref().CallSoonThreadsafe(fn); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, n *Node, address string) *RemoteTransport {
	t.Helper()
	s, err := n.Transport(testCtx(t), address)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill writes bytes whose order can be checked.
func fill(p []byte, at int) {
	for i := range p {
		p[i] = byte((at + i) * 2654435761 >> 13)
	}
}

// make prove-streams writes 10 GiB.
var streamBytes = flag.Int("stream-bytes", 96<<20, "bytes to write to a connection of another node")

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func TestAStreamIsWholeAndInOrder(t *testing.T) {
	total := *streamBytes
	nodes := group(t, 2, patient)
	h, _ := serveOne(t, nodes[1], newLoop(t, nodes[1], "io-0"))
	if err := h.client.SetDeadline(time.Now().Add(castsLimit)); err != nil {
		t.Fatal(err)
	}
	far, grown, begin := open(t, nodes[0], h.address), growth(), time.Now()
	sent := sha256.New()
	went := make(chan error, 1)
	go func() {
		buf := make([]byte, 3<<20) // larger than the window
		for at, n := 0, 1; at < total; n = n*7%len(buf) + 1 {
			p := buf[:min(n, total-at)]
			fill(p, at)
			sent.Write(p)
			if err := far.WriteWait(context.Background(), p); err != nil {
				went <- err
				return
			}
			at += len(p)
		}
		went <- far.WriteEOF()
	}()
	got := sha256.New()
	n, err := io.Copy(got, h.client)
	if n != int64(total) || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if err := receive(t, "the writer", went); err != nil || digest(got) != digest(sent) {
		t.Errorf("got %s, sent %s, %v", digest(got), digest(sent), err)
	}
	t.Logf("%.2f GB/s with two digests; %d MiB more", float64(total)/time.Since(begin).Seconds()/1e9, grown()>>20)
	if g := grown(); g > growthLimit {
		t.Errorf("the process has grown by %d MiB", g>>20)
	}
	wantIs(t, far.Write([]byte("x")), transportactors.ErrWriteEOF)
	if err := far.Drain(testCtx(t)); err != nil || far.WriteBufferSize() != 0 {
		t.Errorf("%v, %d bytes under way", err, far.WriteBufferSize())
	}
}

// heap is what the process holds.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// pauses writes down what a protocol hears.
type pauses struct {
	log  chan string
	lost chan error
}

func (p *pauses) PauseWriting()            { p.log <- "pause" }
func (p *pauses) ResumeWriting()           { p.log <- "resume" }
func (p *pauses) ConnectionLost(err error) { p.lost <- err }

func TestAPeerThatDoesNotReadStopsTheWriter(t *testing.T) {
	nodes := group(t, 2)
	loop := newLoop(t, nodes[0], "writer")
	l, _ := loop.Local()
	h, _ := serveOne(t, nodes[1], newLoop(t, nodes[1], "io-0"))
	far := open(t, nodes[0], h.address)
	p := &pauses{make(chan string, 10_000), make(chan error, 1)}
	wantIs(t, far.SetProtocol(l, 5), ErrConfig)
	if err := far.SetProtocol(l, p); err != nil {
		t.Fatal(err)
	}
	before := heap()
	piece, taken := make([]byte, 64<<10), 0
	for { // the kernel takes some megabytes
		if err := far.Write(piece); err == nil {
			taken += len(piece)
			continue
		} else {
			wantIs(t, err, ErrNoCredit)
		}
		short, cancel := context.WithTimeout(testCtx(t), 500*time.Millisecond)
		err := far.WriteWait(short, piece)
		cancel()
		if err != nil {
			wantIs(t, err, context.DeadlineExceeded)
			break
		}
		taken += len(piece)
	}
	if got := receive(t, "a pause", p.log); got != "pause" {
		t.Fatalf("heard %q", got)
	}
	if size := far.WriteBufferSize(); size > 1<<20 {
		t.Errorf("%d bytes are under way", size)
	}
	if more := int64(heap()) - int64(before); more > 6<<20 { // the window, twice, and the buffers of the connections of two nodes and a server
		t.Errorf("a stream that stands still holds %d bytes", more)
	}
	// Reading lets it go on: everything that was accepted arrives.
	read := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, h.client) // an error shows in the count
		read <- n
	}()
	for last := ""; last != "resume"; {
		last = receive(t, "to go on", p.log)
	}
	far.Close()
	// A wait that ends while its bytes are being taken leaves open whether they were.
	if n := receive(t, "the end of the bytes", read); n != int64(taken) && n != int64(taken+len(piece)) {
		t.Errorf("%d bytes of %d", n, taken)
	}
	if err := receive(t, "the end", p.lost); err != nil {
		t.Errorf("a connection that its writer closed ended with %v", err)
	}
}

// TestAWriteThatIsGivenUpKeepsItsBytes: its caller has the memory back at once, and what
// follows of it is what it was.
func TestAWriteThatIsGivenUpKeepsItsBytes(t *testing.T) {
	nodes := group(t, 2, patient)
	h, _ := serveOne(t, nodes[1], newLoop(t, nodes[1], "io-0"))
	far := open(t, nodes[0], h.address)
	p := make([]byte, 48<<20) // more than window and kernel take
	fill(p, 0)
	want := sha256.New()
	want.Write(p)
	short, cancel := context.WithCancel(testCtx(t))
	gaveUp := make(chan error, 1)
	go func() { gaveUp <- far.WriteWait(short, p) }()
	until(t, "the window is full", func() bool { return far.WriteBufferSize() > 1<<19 })
	cancel()
	wantIs(t, receive(t, "the end of the wait", gaveUp), context.Canceled)
	clear(p)
	if err := far.WriteWait(testCtx(t), nil); err != nil {
		t.Fatal(err)
	}
	far.Close()
	got := sha256.New()
	if n, err := io.Copy(got, h.client); n != int64(len(p)) || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if digest(got) != digest(want) {
		t.Error("other bytes have arrived than were written")
	}
}

func TestAWriterHearsWhyTheConnectionEnded(t *testing.T) {
	nodes := group(t, 2)
	loop := newLoop(t, nodes[1], "io-0")
	l, _ := loop.Local()
	t.Run("the hard limit", func(t *testing.T) {
		h, tr := serveOne(t, nodes[1], loop, transportactors.WithWriteLimit(1<<20))
		far := open(t, nodes[0], h.address)
		if err := far.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		on(t, l, func() { // its owner writes, too, and does not heed PauseWriting
			for tr.Write(make([]byte, 256<<10)) == nil {
			}
		})
		receive(t, "the end", far.Done())
		wantIs(t, far.Err(), transportactors.ErrWriteLimit)
		wantIs(t, receive(t, "the end there", h.lost), transportactors.ErrWriteLimit)
		wantIs(t, far.Write([]byte("x")), transportactors.ErrWriteLimit)
	})
	t.Run("a deaf peer", func(t *testing.T) {
		h, _ := serveOne(t, nodes[1], loop, transportactors.WithIdleTimeout(500*time.Millisecond))
		far := open(t, nodes[0], h.address)
		wantIs(t, far.WriteWait(testCtx(t), make([]byte, 64<<20)), loopnode.ErrTimeout)
		wantIs(t, far.Err(), loopnode.ErrTimeout)
	})
	t.Run("the peer has gone", func(t *testing.T) {
		h, _ := serveOne(t, nodes[1], loop)
		far := open(t, nodes[0], h.address)
		if err := h.client.Close(); err != nil {
			t.Fatal(err)
		}
		receive(t, "the end", far.Done())
		wantIs(t, far.Err(), ErrClosed)
		_, err := nodes[0].Transport(testCtx(t), h.address)
		wantIs(t, err, ErrUnknownTransport)
	})
	t.Run("its loop was closed", func(t *testing.T) {
		other := newLoop(t, nodes[1], "io-1")
		h, _ := serveOne(t, nodes[1], other)
		far := open(t, nodes[0], h.address)
		if err := other.Stop(); err != nil {
			t.Fatal(err)
		}
		receive(t, "the end", far.Done())
		if far.Err() == nil {
			t.Error("it ended without a reason")
		}
	})
}

func TestOrdersToAConnection(t *testing.T) {
	nodes := group(t, 2)
	loop := newLoop(t, nodes[1], "io-0")
	l, _ := loop.Local()
	near := open(t, nodes[1], func() string { h, _ := serveOne(t, nodes[1], loop); return h.address }())
	if err := near.Write([]byte("from its own node")); err != nil {
		t.Error(err)
	}
	if err := near.Drain(testCtx(t)); err != nil {
		t.Error(err)
	}
	near.Abort()
	receive(t, "the end", near.Done())
	wantIs(t, near.Err(), ErrClosed)

	h, tr := serveOne(t, nodes[1], loop)
	far := open(t, nodes[0], h.address)
	reading := func() bool {
		yes := make(chan bool, 1)
		on(t, l, func() { yes <- tr.IsReading() })
		return receive(t, "its state", yes)
	}
	if err := far.PauseReading(); err != nil {
		t.Error(err)
	}
	until(t, "it does not read", func() bool { return !reading() })
	if err := far.ResumeReading(); err != nil {
		t.Error(err)
	}
	until(t, "it reads", reading)
	if err := far.Write([]byte("behind nothing")); err != nil {
		t.Error(err)
	}
	far.Detach()
	wantIs(t, far.Write([]byte("x")), transportactors.ErrClosed)
	again := open(t, nodes[0], h.address) // the connection goes on
	if err := again.Write([]byte(", and no more")); err != nil {
		t.Error(err)
	}
	again.Close()
	if got, err := io.ReadAll(h.client); string(got) != "behind nothing, and no more" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	until(t, "nothing is kept of streams that are over", func() bool { return nodes[1].written.Count() == 0 })

	for address, want := range map[string]error{
		"n2/io-0/x": ErrUnknownTransport, "n9/io-0/x": ErrUnknownNode, "nonsense": actors.ErrBadAddress,
		fmt.Sprintf("n2@%d/io-0/x", nodes[1].Incarnation()-1): ErrDeadIncarnation,
	} {
		if _, err := nodes[0].Transport(testCtx(t), address); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", address, err, want)
		}
	}
}

func TestTheEndOfANodeEndsItsStreams(t *testing.T) {
	nodes := group(t, 3)
	h2, _ := serveOne(t, nodes[1], newLoop(t, nodes[1], "io-0"))
	h3, _ := serveOne(t, nodes[2], newLoop(t, nodes[2], "io-0"))
	dead, orphan := open(t, nodes[0], h2.address), open(t, nodes[1], h3.address)
	if err := orphan.Write([]byte("last words")); err != nil {
		t.Error(err)
	}
	if err := orphan.Drain(testCtx(t)); err != nil {
		t.Error(err)
	}
	var waits atomic.Bool
	refused := make(chan error, 1)
	go func() {
		waits.Store(true)
		refused <- dead.WriteWait(context.Background(), make([]byte, 64<<20))
	}()
	until(t, "the writer waits", func() bool { return waits.Load() && dead.WriteBufferSize() > 0 })
	nodes[1].Close()
	if err := receive(t, "the writer", refused); err == nil {
		t.Error("bytes to a node that is gone were taken")
	}
	wantIs(t, orphan.Write([]byte("x")), ErrClosed)
	until(t, "the streams of the dead are forgotten", func() bool { return nodes[2].written.Count() == 0 })
	// The connection is its owner's.
	other := open(t, nodes[0], h3.address)
	if err := other.Write([]byte(", and more")); err != nil {
		t.Error(err)
	}
	other.Close()
	if got, err := io.ReadAll(h3.client); string(got) != "last words, and more" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
