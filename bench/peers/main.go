// Command peers compares loopmesh with what it competes with, over TCP: Go's
// net, gnet, a C epoll loop, asyncio and, where it is installed, uvloop. Every
// round runs every load against every peer, in a drawn order, so that a noisy
// machine hurts all alike; the table shows medians. Trust the ratios.
//
//	go run . -rounds 5
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// sample is one round of one load against one peer.
type sample struct{ rate, user, system, p50, p99 float64 }

func main() {
	serveAs := flag.String("serve", "", "be this server and print its address")
	rounds := flag.Int("rounds", 5, "how often to run everything")
	during := flag.Duration("time", time.Second, "how long each load lasts")
	only := flag.String("work", "", "only loads whose name contains this")
	flag.Parse()
	if *serveAs != "" {
		fatal(inGo[*serveAs]("127.0.0.1:0"))
	}
	dir, err := os.MkdirTemp("", "loopmesh-peers-")
	if err != nil {
		fatal(err)
	}
	err = compare(dir, *rounds, *during, *only)
	_ = os.RemoveAll(dir)
	if err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "peers:", err)
	os.Exit(1)
}

func compare(dir string, rounds int, during time.Duration, only string) error {
	names, how := commands(dir)
	peers := map[string]*peer{}
	for _, name := range names {
		p, err := start(name, how[name])
		if err != nil {
			return err
		}
		defer p.stop()
		peers[name] = p
	}
	for _, w := range works {
		if !strings.Contains(w.name, only) {
			continue
		}
		seen := map[string][]sample{}
		for range rounds {
			for _, i := range rand.Perm(len(names)) {
				s, err := measure(w, peers[names[i]], during)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", names[i], w.name, err)
				}
				seen[names[i]] = append(seen[names[i]], s)
			}
		}
		show(w, names, seen)
	}
	return nil
}

func measure(w work, p *peer, during time.Duration) (s sample, err error) {
	if _, err = run(w, p.address, during/10); err != nil { // warm
		return s, err
	}
	u0, s0, err := p.spent()
	if err != nil {
		return s, err
	}
	o, err := run(w, p.address, during)
	if err != nil {
		return s, err
	}
	u1, s1, err := p.spent()
	n := float64(o.requests)
	return sample{
		rate: n / o.took.Seconds(), user: (u1 - u0).Seconds() * 1e6 / n, system: (s1 - s0).Seconds() * 1e6 / n,
		p50: o.p50.Seconds() * 1e6, p99: o.p99.Seconds() * 1e6,
	}, err
}

func show(w work, names []string, seen map[string][]sample) {
	fmt.Printf("\n%s\n", w.name)
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "peer\trequests/s\tp50 us\tp99 us\tuser us/req\tsystem us/req\trate, ours to theirs\tuser, ours to theirs\t")
	ours := medians(seen["loopmesh"])
	for _, name := range names {
		m := medians(seen[name])
		fmt.Fprintf(tw, "%s\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t\n",
			name, m.rate, m.p50, m.p99, m.user, m.system, ours.rate/m.rate, ours.user/m.user)
	}
	_ = tw.Flush()
}

func medians(all []sample) (m sample) {
	of := func(get func(sample) float64) float64 {
		v := make([]float64, len(all))
		for i, s := range all {
			v[i] = get(s)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	m.rate, m.user, m.system = of(func(s sample) float64 { return s.rate }), of(func(s sample) float64 { return s.user }), of(func(s sample) float64 { return s.system })
	m.p50, m.p99 = of(func(s sample) float64 { return s.p50 }), of(func(s sample) float64 { return s.p99 })
	return m
}
