package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	idleLoad    = "idle connections"
	idleMeasure = "resident bytes each"
	idleCount   = 4000
)

// idle opens connections that say one word each and then nothing, and asks the kernel
// how much the server has grown. Servers are started anew for it: what a load left in
// a heap would hide it.
func idle(dir string, o options, pin pinning, r *raw) error {
	if !strings.Contains(idleLoad, o.work) {
		return nil
	}
	fmt.Printf("\n### %d %s\n\n", idleCount, idleLoad)
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(tw, "| server\t| "+idleMeasure+" (range)\t|")
	fmt.Fprintln(tw, "|---\t|---\t|")
	seen, order := map[string][]float64{}, []string{}
	for round := range min(o.rounds, 3) {
		peers, err := startAll(dir, o, pin)
		for _, p := range peers {
			each, failed := grown(p)
			p.stop()
			if failed != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", p.name, failed))
				continue
			}
			if seen[p.name] == nil {
				order = append(order, p.name)
			}
			seen[p.name] = append(seen[p.name], each)
			r.add(idleLoad, p.name, round, idleMeasure, each)
		}
		if err != nil {
			return err
		}
	}
	same := func(f float64) float64 { return f }
	for _, name := range order {
		low, high := extremes(seen[name], same)
		fmt.Fprintf(tw, "| %s\t| %.0f (%.0f-%.0f)\t|\n", name, median(seen[name], same), low, high)
	}
	return tw.Flush()
}

// grown is by how many bytes each idle connection makes the server larger.
func grown(p *peer) (each float64, err error) {
	if _, err = p.word(); err != nil { // what the first connection makes is not counted
		return 0, err
	}
	time.Sleep(200 * time.Millisecond)
	before, err := resident(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range idleCount {
		c, err := p.word()
		if err != nil {
			return 0, err
		}
		open = append(open, c)
	}
	time.Sleep(200 * time.Millisecond)
	after, err := resident(p.cmd.Process.Pid)
	return float64(after-before) / idleCount, err
}

// word opens a connection and has one word echoed.
func (p *peer) word() (net.Conn, error) {
	c, err := dial(p.address)
	if err != nil {
		return nil, err
	}
	b := []byte("hello")
	if _, err = c.Write(b); err == nil {
		_, err = io.ReadFull(c, b)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// resident is the memory of a process in bytes.
func resident(pid int) (bytes int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), "VmRSS:")
	if !ok {
		return 0, errors.New("the kernel does not tell how large the process is")
	}
	_, err = fmt.Sscan(rest, &bytes)
	return bytes << 10, err
}
