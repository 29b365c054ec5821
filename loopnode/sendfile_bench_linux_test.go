package loopnode

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkSendfile sends one file over loopback TCP, in turns by SockSendfile
// and by the loop over sendfile(2) on a blocking socket that a C program would
// have. "ratio" is our time over its time.
func BenchmarkSendfile(b *testing.B) {
	for _, kib := range []int{4, 1 << 10, 64 << 10} {
		b.Run(strconv.Itoa(kib)+"KiB", func(b *testing.B) { benchSendfile(b, kib<<10) })
	}
}

func benchSendfile(b *testing.B, size int) {
	path := filepath.Join(b.TempDir(), "f")
	must(b, os.WriteFile(path, pattern(size), 0o600))
	f, err := os.Open(path)
	must(b, err)
	defer f.Close()
	ours, oursEcho := drained(b, size)
	plain, plainEcho := drained(b, size)
	must(b, unix.SetNonblock(plain, false))
	l, _ := newLoop(b)
	var mine, theirs time.Duration
	_, err = RunUntilComplete(l, CreateTask(l.Context(context.Background()), "bench", func(ctx context.Context) (int, error) {
		for range b.N {
			start := time.Now()
			if n, err := SockSendfile(ctx, ours, f, 0, ToEnd); err != nil || int(n) != size {
				b.Error(n, err)
			}
			<-oursEcho // Why blocking: both senders wait for their reader in the same way
			between := time.Now()
			for offset := int64(0); offset < int64(size); {
				if _, err := unix.Sendfile(plain, int(f.Fd()), &offset, size-int(offset)); err != nil {
					return 0, err
				}
			}
			<-plainEcho
			mine, theirs = mine+between.Sub(start), theirs+time.Since(between)
		}
		return 0, nil
	}))
	must(b, err)
	b.SetBytes(int64(size))
	b.ReportMetric(float64(mine)/float64(theirs), "ratio")
	b.ReportMetric(float64(mine.Nanoseconds())/float64(b.N), "ours-ns/op")
	b.ReportMetric(float64(theirs.Nanoseconds())/float64(b.N), "plain-ns/op")
	_ = unix.Close(ours)
	_ = unix.Close(plain)
	<-oursEcho
	<-plainEcho
}

// drained is a connection whose other end reads all and tells every time it has
// had size bytes; the channel is closed at its end.
func drained(b *testing.B, size int) (int, chan struct{}) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	defer ln.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(b, err)
	must(b, unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: ln.Addr().(*net.TCPAddr).Port}))
	must(b, unix.SetNonblock(fd, true))
	c, err := ln.Accept()
	must(b, err)
	told := make(chan struct{})
	// goroutine: owner: the benchmark; ends when the sender closes.
	go func() {
		defer close(told)
		defer c.Close()
		buf := make([]byte, 256<<10)
		for {
			for got := 0; got < size; {
				n, err := c.Read(buf[:min(len(buf), size-got)])
				if err == io.EOF {
					return
				}
				got += n
			}
			told <- struct{}{}
		}
	}()
	return fd, told
}
