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
	rate                 int // open: messages a second
}

var works = []work{
	{name: "echo 1 KiB x 1", clients: 1, depth: 1, size: 1024, mode: "closed"},
	{name: "echo 1 KiB x 64", clients: 64, depth: 1, size: 1024, mode: "closed"},
	{name: "echo 1 KiB x 1000", clients: 1000, depth: 1, size: 1024, mode: "closed"},
	{name: "pipelined 16 x 32 B x 64", clients: 64, depth: 16, size: 32, mode: "closed"},
	{name: "connect, 1 echo, reset x 16", clients: 16, depth: 1, size: 64, mode: "renew"},
	{name: "open, 20,000/s of 1 KiB x 64", clients: 64, size: 1024, mode: "open", rate: 20000},
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

func (l *loader) run(w work, address string, during time.Duration) (o outcome, err error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return o, err
	}
	var out, errs bytes.Buffer
	args := []string{
		l.program, strconv.Itoa(int(at.Port())), strconv.Itoa(w.clients), strconv.Itoa(w.depth), strconv.Itoa(w.size),
		strconv.FormatFloat(during.Seconds(), 'f', 3, 64), w.mode, strconv.Itoa(w.rate),
	}
	args = l.pin.load(args)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return o, fmt.Errorf("%w: %s", err, bytes.TrimSpace(errs.Bytes()))
	}
	_, err = fmt.Sscan(out.String(), &o.requests, &o.seconds, &o.p50, &o.p99, &o.p999, &o.worst)
	if err == nil && o.requests == 0 {
		err = fmt.Errorf("no answer within %v", during)
	}
	return o, err
}
