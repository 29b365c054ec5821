// Command peers compares loopmesh with what it competes with, over TCP: a C epoll
// loop, libuv, Go's net, gnet, asyncio, uvloop and Node.js, as far as this machine has
// them.
//
// How it measures: servers run on one processor and the load on another (see
// pin.go); the load never sleeps and compares every byte (foreign/load.c). Before
// anything is timed each server passes the gates of gate.go, or its failure stands
// beside its figures. Every round runs every load against every server in a drawn
// order, so that a noisy machine hurts all alike. The table shows the median and, of
// the rates, the range; -raw keeps every sample. Trust ratios, never absolute times;
// ratios whose ranges overlap are not different.
//
//	go run . -rounds 5
//	go run . -also 'before=/path/to/older/peers -serve loopmesh'
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// sample is one round of one load against one server; times in microseconds.
type sample struct {
	outcome
	rate, cpu, user float64 // requests a second; processor time of a request
}

// options are what the command line says.
type options struct {
	rounds int
	during time.Duration
	work   string
	only   string
	raw    string
	pinned bool
	also   map[string]string
}

func main() {
	o := options{also: map[string]string{}}
	serveAs := flag.String("serve", "", "be this server and print its address")
	unpinned := flag.Bool("unpinned", false, "let the system choose the processors")
	flag.IntVar(&o.rounds, "rounds", 5, "how often to run everything")
	flag.DurationVar(&o.during, "time", time.Second, "how long each load lasts")
	flag.StringVar(&o.work, "work", "", "only loads whose name contains this")
	flag.StringVar(&o.only, "peers", "", "only these servers, separated by commas")
	flag.StringVar(&o.raw, "raw", "", "write every sample to this file, as CSV")
	flag.Func("also", "NAME=COMMAND of another server, which prints its address", func(s string) error {
		name, command, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("wants NAME=COMMAND")
		}
		o.also[name] = command
		return nil
	})
	flag.Parse()
	o.pinned = !*unpinned
	if *serveAs != "" {
		serve, ok := inGo[*serveAs]
		if !ok {
			fatal(fmt.Errorf("no server is called %q", *serveAs))
		}
		fatal(serve("127.0.0.1:0"))
	}
	dir, err := os.MkdirTemp("", "loopmesh-peers-")
	if err != nil {
		fatal(err)
	}
	err = compare(dir, o)
	_ = os.RemoveAll(dir)
	if err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "peers:", err)
	os.Exit(1)
}

func compare(dir string, o options) (err error) {
	pin := pinIf(o.pinned)
	fmt.Println(machine(pin))
	l := &loader{program: dir + "/load", pin: pin}
	if err := compile(dir, "load", loadC); err != nil {
		return fmt.Errorf("the load is a C program: %w", err)
	}
	peers, err := startAll(dir, o, pin)
	defer func() {
		for _, p := range peers {
			p.stop()
		}
	}()
	if err != nil {
		return err
	}
	r, err := rawFile(o.raw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	r.add("machine", machine(pin), 0, "", 0)
	for _, p := range peers {
		p.failed = passes(p.address)
		for _, f := range p.failed {
			fmt.Printf("%s fails: %s\n", p.name, f)
		}
	}
	for _, p := range peers {
		r.add("gates", p.name+": "+strings.Join(p.failed, "; "), 0, "failed", float64(len(p.failed)))
	}
	for _, w := range works {
		if strings.Contains(w.name, o.work) {
			seen := rounds(w, peers, l, o, r)
			show(w, peers, seen)
		}
	}
	return idle(dir, o, pin, r)
}

// rounds runs one load o.rounds times against every server.
func rounds(w work, peers []*peer, l *loader, o options, r *raw) map[string][]sample {
	seen := map[string][]sample{}
	for round := range o.rounds {
		for _, i := range rand.Perm(len(peers)) {
			p := peers[i]
			if w.only != nil && !slices.Contains(w.only, p.name) {
				continue
			}
			s, err := measure(w, p, l, o.during)
			if err != nil {
				fmt.Printf("%s, %s: %v\n", p.name, w.name, err)
				continue
			}
			seen[p.name] = append(seen[p.name], s)
			r.sample(w.name, p.name, round, s)
		}
	}
	return seen
}

func measure(w work, p *peer, l *loader, during time.Duration) (s sample, err error) {
	var before, after cpu
	read := func(c *cpu) func() error {
		return func() (err error) {
			*c, err = spent(p.cmd.Process.Pid)
			return err
		}
	}
	if s.outcome, err = l.run(w, p.address, during, read(&before), read(&after)); err != nil {
		return s, err
	}
	if s.requests == 0 {
		return s, fmt.Errorf("no answer within %v", during)
	}
	total, user := after.since(before)
	s.rate = s.requests / s.seconds
	s.cpu, s.user = total.Seconds()*1e6/s.requests, user.Seconds()*1e6/s.requests
	return s, nil
}

// machine says where the figures come from.
func machine(pin pinning) string {
	var u unix.Utsname
	_ = unix.Uname(&u) // an unknown kernel is shown empty
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name\t: "); ok {
			model, _, _ = strings.Cut(rest, "\n")
		}
	}
	return fmt.Sprintf("%s, Linux %s, %d x %s, %s, %v", time.Now().Format(time.DateOnly), unix.ByteSliceToString(u.Release[:]), runtime.NumCPU(), model, runtime.Version(), pin)
}

// show prints one load as a table in Markdown.
func show(w work, peers []*peer, seen map[string][]sample) {
	fmt.Printf("\n### %s\n\n", w.name)
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(tw, "| server\t| k/s (range)\t| p50 us\t| p99\t| p99.9\t| cpu us\t| of it user\t| rate, loopmesh to it\t| cpu, loopmesh to it\t|")
	fmt.Fprintln(tw, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	ours := seen["loopmesh"]
	for _, p := range peers {
		s := seen[p.name]
		if len(s) == 0 {
			continue
		}
		rate := func(s sample) float64 { return s.rate }
		cost := func(s sample) float64 { return s.cpu }
		low, high := extremes(s, rate)
		mark := ""
		if len(p.failed) > 0 {
			mark = " (fails a gate)"
		}
		fmt.Fprintf(tw, "| %s%s\t| %.1f (%.1f-%.1f)\t| %.1f\t| %.1f\t| %.1f\t| %.2f\t| %.2f\t| %s\t| %s\t|\n", p.name, mark,
			median(s, rate)/1000, low/1000, high/1000,
			median(s, func(s sample) float64 { return s.p50 }), median(s, func(s sample) float64 { return s.p99 }), median(s, func(s sample) float64 { return s.p999 }),
			median(s, cost), median(s, func(s sample) float64 { return s.user }), ratio(ours, s, rate), ratio(ours, s, cost))
	}
	_ = tw.Flush() // to stdout, like the lines before it
}

func ratio(a, b []sample, of func(sample) float64) string {
	if len(a) == 0 || median(b, of) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", median(a, of)/median(b, of))
}

func median[T any](all []T, of func(T) float64) float64 {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(of(a), of(b)) })
	return of(sorted[len(sorted)/2])
}

func extremes[T any](all []T, of func(T) float64) (low, high float64) {
	low, high = of(all[0]), of(all[0])
	for _, s := range all {
		low, high = min(low, of(s)), max(high, of(s))
	}
	return low, high
}
