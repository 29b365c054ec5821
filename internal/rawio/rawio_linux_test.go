package rawio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair is two connected sockets that block: only the calls themselves keep a test
// from hanging.
func pair(t testing.TB, kind int) (a, b int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestStream(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	buf := make([]byte, 64)
	if _, err := Receive(b, buf); err != unix.EAGAIN {
		t.Fatalf("an empty socket that blocks: %v, want EAGAIN", err)
	}
	n, err := Send(a, []byte("hello"))
	if n != 5 || err != nil {
		t.Fatal(n, err)
	}
	n, err = Receive(b, buf[:3])
	if string(buf[:max(n, 0)]) != "hel" || err != nil || buf[3] != 0 {
		t.Fatalf("%q %v, the byte behind the buffer is %d", buf[:max(n, 0)], err, buf[3])
	}
	if n, err := Send(a, nil); n != 0 || err != nil {
		t.Fatal("nothing:", n, err)
	}
	must(t, unix.Shutdown(a, unix.SHUT_WR))
	if n, err = Receive(b, buf); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err = Receive(b, buf); n != 0 || err != nil {
		t.Fatalf("the end of the input: %d %v", n, err)
	}
}

// TestStreamTakesWhatFits: a short write, also of more than Most bytes, then EAGAIN,
// and every byte arrives in order.
func TestStreamTakesWhatFits(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	n, err := Send(a, block)
	if err != nil || n <= Most || n >= len(block) {
		t.Fatalf("%d of %d bytes, %v: want a short write of more than %d", n, len(block), err, Most)
	}
	if _, err := Send(a, block); err != unix.EAGAIN {
		t.Fatalf("a full socket: %v, want EAGAIN", err)
	}
	var got []byte
	buf := make([]byte, 10_007)
	for len(got) < n {
		m, err := Receive(b, buf)
		must(t, err)
		got = append(got, buf[:m]...)
	}
	if !bytes.Equal(got, block[:n]) {
		t.Error("the bytes differ")
	}
}

func TestErrors(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	var pipe [2]int
	must(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	must(t, unix.Shutdown(b, unix.SHUT_RD))
	if _, err := Send(a, []byte("x")); err != unix.EPIPE {
		t.Errorf("nobody reads: %v, want EPIPE and no signal", err)
	}
	for _, c := range []struct {
		name string
		fd   int
		want error
	}{{"no descriptor", -1, unix.EBADF}, {"a pipe", pipe[0], unix.ENOTSOCK}} {
		if _, err := Receive(c.fd, make([]byte, 1)); !errors.Is(err, c.want) {
			t.Errorf("Receive, %s: %v", c.name, err)
		}
		if _, err := Send(c.fd, make([]byte, 1)); !errors.Is(err, c.want) {
			t.Errorf("Send, %s: %v", c.name, err)
		}
		if _, err := NewBatch(1).Receive(c.fd, 1); !errors.Is(err, c.want) {
			t.Errorf("Batch.Receive, %s: %v", c.name, err)
		}
		if _, err := NewBatch(1).Send(c.fd, 0, 1); !errors.Is(err, c.want) {
			t.Errorf("Batch.Send, %s: %v", c.name, err)
		}
	}
}

// TestBatch: messages keep their borders, their order and their buffers; what does
// not fit tells its whole length.
func TestBatch(t *testing.T) {
	a, b := pair(t, unix.SOCK_DGRAM)
	out, in := NewBatch(4), NewBatch(8)
	texts := []string{"one", "", "three and more", "4"}
	for i, s := range texts {
		out.SetBuffer(i, []byte(s))
		out.SetTarget(i, 0, 0)
	}
	runtime.GC() // the Batch alone holds the buffers
	if n, err := out.Send(a, 1, 4); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	memory := bytes.Repeat([]byte{'.'}, in.Len()*8)
	for i := range in.Len() {
		in.SetBuffer(i, memory[i*8:i*8+6])
	}
	n, err := in.Receive(b, in.Len())
	if n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for i, want := range texts[1:] {
		if in.Size(i) != len(want) {
			t.Errorf("message %d has %d bytes, want %d", i, in.Size(i), len(want))
		}
	}
	if got, want := string(memory[:24]), "........"+"three .."+"4......."; got != want {
		t.Errorf("memory is %q, want %q", got, want)
	}
	if _, err := in.Receive(b, 1); err != unix.EAGAIN {
		t.Errorf("an empty socket that blocks: %v", err)
	}
}

// TestBatchLongName: the kernel says how long a name was that had no room.
func TestBatchLongName(t *testing.T) {
	a, b := pair(t, unix.SOCK_DGRAM)
	must(t, unix.Bind(a, &unix.SockaddrUnix{Name: "@" + strings.Repeat("n", 90)}))
	_, err := Send(a, []byte("x"))
	must(t, err)
	in := NewBatch(1)
	in.SetBuffer(0, make([]byte, 4))
	if n, err := in.Receive(b, 1); n != 1 || err != nil || in.NameLen(0) != NameSize {
		t.Fatal(n, err, in.NameLen(0))
	}
}

// TestBatchAddresses: to a name, from a name, in segments.
func TestBatchAddresses(t *testing.T) {
	fds := [2]int{}
	var at [2]*unix.SockaddrInet4
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
		sa, err := unix.Getsockname(fd)
		must(t, err)
		fds[i], at[i] = fd, sa.(*unix.SockaddrInet4)
	}
	b := NewBatch(100)
	if b.Len() != MostMessages {
		t.Fatalf("room for %d", b.Len())
	}
	name := func(s *unix.SockaddrInet4) []byte {
		b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
		return append(b, byte(s.Port>>8), byte(s.Port), 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	b.SetBuffer(0, []byte("aabbc"))
	b.SetTarget(0, copy(b.Name(0), name(at[1])), 2)
	b.SetBuffer(1, []byte("whole"))
	b.SetTarget(1, copy(b.Name(1), name(at[1])), 0)
	if n, err := b.Send(fds[0], 0, 2); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	memory := make([]byte, 5*16)
	for i := range 5 {
		b.SetBuffer(i, memory[i*16:(i+1)*16])
	}
	n, err := b.Receive(fds[1], 5)
	if n != 4 || err != nil {
		t.Fatal(n, err)
	}
	for i, want := range []string{"aa", "bb", "c", "whole"} {
		if got := string(memory[i*16 : i*16+b.Size(i)]); got != want {
			t.Errorf("datagram %d is %q, want %q", i, got, want)
		}
		if got := b.Name(i)[:b.NameLen(i)]; !bytes.Equal(got, name(at[0])) {
			t.Errorf("datagram %d comes from %v, want %v", i, got, name(at[0]))
		}
	}
}

func TestLook(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	must(t, err)
	defer unix.Close(set)
	must(t, unix.EpollCtl(set, unix.EPOLL_CTL_ADD, b, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 7}))
	events := make([]unix.EpollEvent, 2)
	if n, err := Look(set, events); n != 0 || err != nil {
		t.Fatal("nothing is ready:", n, err)
	}
	_, err = Send(a, []byte("x"))
	must(t, err)
	if n, err := Look(set, events); n != 1 || err != nil || events[0].Fd != 7 || events[0].Events != unix.EPOLLIN {
		t.Fatal(n, err, events)
	}
	if _, err := Look(-1, events); err != unix.EBADF {
		t.Error(err)
	}
}

// TestNames: who connects, and to what; the end of what has no room is cut off.
func TestNames(t *testing.T) {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(l)
	must(t, unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(l, 1))
	var at, from, own [NameSize]byte
	if _, _, err := Accept(l, from[:]); err != unix.EAGAIN {
		t.Fatal(err)
	}
	n, err := LocalName(l, at[:])
	if n != unix.SizeofSockaddrInet4 || err != nil {
		t.Fatal(n, err)
	}
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(c)
	sa, err := unix.Getsockname(l)
	must(t, err)
	must(t, unix.Connect(c, sa))
	fd, n, err := Accept(l, from[:])
	if n != unix.SizeofSockaddrInet4 || err != nil {
		t.Fatal(n, err)
	}
	defer unix.Close(fd)
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("the client's flags are %#x, %v", flags, err)
	}
	if _, err = LocalName(c, own[:]); err != nil || own != from {
		t.Errorf("from %v, but it is %v, %v", from, own, err)
	}
	var short [4]byte
	if n, err := LocalName(fd, short[:]); n != 4 || err != nil || !bytes.Equal(short[:], at[:4]) {
		t.Errorf("%d bytes %v of %v, %v", n, short, at, err)
	}
	if _, err := LocalName(-1, own[:]); err != unix.EBADF {
		t.Error(err)
	}
}

func TestAllocations(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	c, d := pair(t, unix.SOCK_DGRAM)
	buf, batch := make([]byte, 512), NewBatch(4)
	for name, f := range map[string]func(){
		"stream":       func() { _, _ = Send(a, buf); _, _ = Receive(b, buf) },
		"empty stream": func() { _, _ = Receive(b, buf) },
		"datagrams": func() {
			for i := range 4 {
				batch.SetBuffer(i, buf)
				batch.SetTarget(i, 0, 0)
			}
			_, _ = batch.Send(c, 0, 4)
			_, _ = batch.Receive(d, 4)
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
