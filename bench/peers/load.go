package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"time"
)

// work is a load, in the words of foreign/load.c.
type work struct {
	name                 string
	clients, depth, size int
	mode                 string
	rate                 int      // open: messages a second
	only                 []string // servers; none: all
}

// growers are the servers that are asked how they grow: with ten thousand connections
// each figure takes seconds.
var growers = []string{"loopmesh", "C epoll", "libuv", "gnet", "Go net", "uvloop", "before"}

var works = []work{
	{name: "echo 1 KiB x 1", clients: 1, depth: 1, size: 1024, mode: "closed"},
	{name: "echo 1 KiB x 64", clients: 64, depth: 1, size: 1024, mode: "closed"},
	{name: "echo 1 KiB x 1000", clients: 1000, depth: 1, size: 1024, mode: "closed"},
	{name: "pipelined 16 x 32 B x 64", clients: 64, depth: 16, size: 32, mode: "closed"},
	{name: "connect, 1 echo, reset x 16", clients: 16, depth: 1, size: 64, mode: "renew"},
	{name: "open, 20,000/s of 1 KiB x 64", clients: 64, size: 1024, mode: "open", rate: 20000},
	{name: "growth 100", clients: 100, depth: 1, size: 256, mode: "closed", only: growers},
	{name: "growth 400", clients: 400, depth: 1, size: 256, mode: "closed", only: growers},
	{name: "growth 1600", clients: 1600, depth: 1, size: 256, mode: "closed", only: growers},
	{name: "growth 6400", clients: 6400, depth: 1, size: 256, mode: "closed", only: growers},
	{name: "growth 17000", clients: 17000, depth: 1, size: 256, mode: "closed", only: growers},
}

// outcome is what one run of a load saw; times in microseconds.
type outcome struct {
	requests, seconds, p50, p99, p999, worst float64
}

// loader runs foreign/load.c on a processor of its own. Owned by compare.
type loader struct {
	program string
	pin     pinning
}

// run puts the load on a server; started is called when its clock starts, stopped when
// it has stopped, while the connections are still there.
func (l *loader) run(w work, address string, during time.Duration, started, stopped func() error) (o outcome, err error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return o, err
	}
	args := l.pin.load([]string{
		l.program, strconv.Itoa(int(at.Port())), strconv.Itoa(w.clients), strconv.Itoa(w.depth), strconv.Itoa(w.size),
		strconv.FormatFloat(during.Seconds(), 'f', 3, 64), w.mode, strconv.Itoa(w.rate),
	})
	var errs bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return o, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return o, err
	}
	if err := cmd.Start(); err != nil {
		return o, err
	}
	var word string
	if _, err = fmt.Fscanln(out, &word); err == nil {
		err = started()
	}
	if err == nil {
		_, err = fmt.Fscanln(out, &o.requests, &o.seconds, &o.p50, &o.p99, &o.p999, &o.worst)
	}
	if err == nil {
		err = stopped()
	}
	_ = in.Close()                         // now it may end
	if ended := cmd.Wait(); ended != nil { // it says why better than what it did not print
		return o, fmt.Errorf("%w: %s", ended, bytes.TrimSpace(errs.Bytes()))
	}
	return o, err
}
