//go:build unix

package supervisor

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

// A listening socket is kept by the supervision: clients that come between two
// lives wait in its queue and are served by the next.
func TestListenerSurvives(t *testing.T) {
	gap := make(chan struct{})
	serve := func(ctx context.Context, life *Life) error {
		ln, err := Keep(life, "listener", func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") })
		if err != nil {
			return err
		}
		if life.Number() > 1 {
			<-gap
		}
		fd, err := duplicate(ln)
		if err != nil {
			return err
		}
		life.Loop().OnClose(func() { _ = syscall.Close(fd) })
		return life.Loop().AddReader(fd, func() {
			client, _, err := syscall.Accept(fd)
			if err != nil {
				return
			}
			_, _ = syscall.Write(client, []byte(strconv.Itoa(life.Number())))
			_ = syscall.Close(client)
		})
	}
	s, lives := supervised(t, Config{Policy: newVerdicts(nil), Setup: serve})
	first := comes(t, lives)
	ln, err := Keep(first, "listener", func() (net.Listener, error) { return nil, errors.New("lost") })
	testloop.Must(t, err)
	ask := func() string {
		c, err := net.DialTimeout("tcp", ln.Addr().String(), testloop.Patience)
		testloop.Must(t, err)
		defer c.Close()
		testloop.Must(t, c.SetDeadline(time.Now().Add(testloop.Patience)))
		b, err := io.ReadAll(c)
		testloop.Must(t, err)
		return string(b)
	}
	if got := ask(); got != "1" {
		t.Fatal(got)
	}
	testloop.Must(t, first.Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(errors.New("x"))) }))
	for s.Lives() == 1 {
		<-time.After(time.Millisecond)
	}
	answer := make(chan string, 1)
	go func() { answer <- ask() }()
	close(gap)
	comes(t, lives)
	if got := comes(t, answer); got != "2" {
		t.Fatal(got)
	}
	stopSupervised(t, s)
	if c, err := net.DialTimeout("tcp", ln.Addr().String(), testloop.Patience); err == nil {
		_ = c.Close()
		t.Fatal("the socket outlived the supervision")
	}
}

func duplicate(ln net.Listener) (fd int, err error) {
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := raw.Control(func(of uintptr) { fd, err = syscall.Dup(int(of)) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}
