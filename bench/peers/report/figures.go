package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// series are the values of one figure, one a round.
type series []float64

func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(s))[len(s)/2]
}

// text is the median with its range.
func (s series) text(format string) string {
	if len(s) == 0 {
		return "–"
	}
	f := func(v float64) string { return fmt.Sprintf(format, v) }
	return f(s.median()) + " (" + f(slices.Min(s)) + "–" + f(slices.Max(s)) + ")"
}

// over is this series through another, round by round: a slow moment of the machine
// that lasts a round hurts both sides.
func (s series) over(t series) (ratio series) {
	for i := range min(len(s), len(t)) {
		if t[i] != 0 {
			ratio = append(ratio, s[i]/t[i])
		}
	}
	return ratio
}

// peers are the figures of the servers: by load, server and measure.
type peers struct {
	machine string
	failed  []string
	loads   map[string]map[string]map[string]series
}

// servers are those that a load saw, ours first.
func (p *peers) servers(load string) []string {
	order := []string{"loopmesh", "loopmesh stream", "C epoll", "libuv", "gnet", "Go net", "uvloop", "asyncio", "Node.js"}
	at := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	return slices.SortedFunc(maps.Keys(p.loads[load]), func(a, b string) int { return cmp.Or(at(a)-at(b), cmp.Compare(a, b)) })
}

func (p *peers) of(load, server, measure string) series { return p.loads[load][server][measure] }

func readPeers(r io.Reader) (*peers, error) {
	lines, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, err
	}
	p := &peers{loads: map[string]map[string]map[string]series{}}
	for _, line := range lines[min(1, len(lines)):] {
		load, server, measure := line[0], line[1], line[3]
		value, err := strconv.ParseFloat(line[4], 64)
		switch {
		case err != nil:
			return nil, err
		case load == "machine":
			p.machine = server
		case load == "gates":
			if value > 0 {
				p.failed = append(p.failed, server)
			}
		default:
			if p.loads[load] == nil {
				p.loads[load] = map[string]map[string]series{}
			}
			if p.loads[load][server] == nil {
				p.loads[load][server] = map[string]series{}
			}
			of := p.loads[load][server]
			of[measure] = append(of[measure], value)
		}
	}
	if p.machine == "" {
		return nil, errors.New("this is not a file that peers -raw has written")
	}
	return p, nil
}

// readBench reads what go test -bench has printed: by benchmark and unit.
func readBench(r io.Reader) (map[string]map[string]series, error) {
	all := map[string]map[string]series{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i >= 0 { // the number of processors
			name = name[:i]
		}
		for ; len(f) >= 4; f = f[2:] {
			value, err := strconv.ParseFloat(f[2], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", lines.Text(), err)
			}
			if all[name] == nil {
				all[name] = map[string]series{}
			}
			all[name][f[3]] = append(all[name][f[3]], value)
		}
	}
	return all, lines.Err()
}
