package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// work is a load: clients connections, each with depth messages of size bytes
// under way. renew closes the connection after each answer.
type work struct {
	name                 string
	clients, depth, size int
	renew                bool
}

var works = []work{
	{name: "echo 1 KiB x 1", clients: 1, depth: 1, size: 1024},
	{name: "echo 1 KiB x 64", clients: 64, depth: 1, size: 1024},
	{name: "pipelined 16 x 32 B x 64", clients: 64, depth: 16, size: 32},
	{name: "connect, 1 echo, close x 16", clients: 16, depth: 1, size: 64, renew: true},
}

// outcome is what one run of a load saw.
type outcome struct {
	requests int
	took     time.Duration
	p50, p99 time.Duration
}

// client is one connection of the load.
type client struct {
	fd    int
	left  int // bytes of answers still to come
	since time.Time
}

// load is an epoll loop of its own, so that what it costs is the same for all.
type load struct {
	work  work
	to    unix.SockaddrInet4
	ep    int
	out   []byte
	in    []byte
	byFD  map[int]*client
	times []time.Duration
	count int
}

// run puts the load on a server for a while.
func run(w work, address string, during time.Duration) (o outcome, err error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return o, err
	}
	l := &load{
		work: w, to: unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()},
		out: make([]byte, w.size*w.depth), in: make([]byte, 256<<10), byFD: map[int]*client{},
	}
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for range w.clients {
		if err := l.connect(); err != nil {
			return o, err
		}
	}
	begin := time.Now()
	if err := l.drive(begin.Add(during)); err != nil {
		return o, err
	}
	o.requests, o.took = l.count, time.Since(begin)
	slices.Sort(l.times)
	if n := len(l.times); n > 0 {
		o.p50, o.p99 = l.times[n/2], l.times[n*99/100]
	}
	return o, nil
}

func (l *load) close() (err error) {
	for fd := range l.byFD {
		err = errors.Join(err, unix.Close(fd))
	}
	return errors.Join(err, unix.Close(l.ep))
}

func (l *load) connect() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c := &client{fd: fd}
	l.byFD[fd] = c
	if err := unix.Connect(fd, &l.to); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if l.work.renew { // a close that leaves no port waiting behind
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return err
		}
	}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return err
	}
	return l.ask(c)
}

// ask sends the messages of one round trip; they fit the socket's buffer.
func (l *load) ask(c *client) error {
	c.left, c.since = len(l.out), time.Now()
	_, err := unix.Write(c.fd, l.out)
	return err
}

func (l *load) drive(until time.Time) error {
	events := make([]unix.EpollEvent, 256)
	for time.Now().Before(until) {
		n, err := unix.EpollWait(l.ep, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for i := range max(n, 0) {
			if err := l.answer(l.byFD[int(events[i].Fd)]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *load) answer(c *client) error {
	n, err := unix.Read(c.fd, l.in)
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return errors.New("the server closed the connection")
	}
	if c.left -= n; c.left > 0 {
		return nil
	}
	l.count += l.work.depth
	l.times = append(l.times, time.Since(c.since))
	if !l.work.renew {
		return l.ask(c)
	}
	delete(l.byFD, c.fd)
	if err := unix.Close(c.fd); err != nil {
		return err
	}
	return l.connect()
}
