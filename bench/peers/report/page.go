package main

import (
	"fmt"
	"strings"
)

// echoes are the loads that stand in the short table, with a name for each.
var echoes = []struct{ load, name string }{
	{"echo 1 KiB x 1", "echo 1 KiB, 1 connection"},
	{"echo 1 KiB x 64", "64 connections"},
	{"echo 1 KiB x 1000", "1,000 connections"},
	{"pipelined 16 x 32 B x 64", "16 × 32 B pipelined, 64"},
	{"connect, 1 echo, reset x 16", "connect, echo, reset"},
}

// loads stand in the page with all their figures, in this order.
var loads = []string{
	"echo 1 KiB x 1", "echo 1 KiB x 64", "echo 1 KiB x 1000", "pipelined 16 x 32 B x 64", "connect, 1 echo, reset x 16", "open, 20,000/s of 1 KiB x 64",
}

const ours = "loopmesh"

// short is the table of the README: our rate through theirs.
func short(p *peers) string {
	var b strings.Builder
	rivals := []string{"C epoll", "libuv", "gnet", "Go net", "uvloop", "asyncio", "Node.js"}
	fmt.Fprintf(&b, "| loopmesh's rate, through that of | %s |\n|---|%s\n", strings.Join(rivals, " | "), strings.Repeat("---|", len(rivals)))
	for _, e := range echoes {
		fmt.Fprintf(&b, "| %s |", e.name)
		for _, r := range rivals {
			ratio := p.of(e.load, ours, "requests/s").over(p.of(e.load, r, "requests/s"))
			if len(ratio) == 0 {
				b.WriteString(" – |")
				continue
			}
			fmt.Fprintf(&b, " %.2f |", ratio.median())
		}
		b.WriteString("\n")
	}
	return b.String()
}

// page is docs/performance.md.
func page(p *peers, bench map[string]map[string]series) string {
	var b strings.Builder
	fmt.Fprintf(&b, head, p.machine)
	for _, f := range p.failed {
		fmt.Fprintf(&b, "Does not pass a gate, and was timed all the same: %s.\n\n", f)
	}
	b.WriteString("## The rate, ours through theirs\n\nMedians of the ratios of the rounds; above 1 loopmesh is faster.\n\n" + short(p) + "\n")
	b.WriteString("![processor time a request](performance/cpu.svg)\n\n")
	for _, load := range loads {
		loadTable(&b, p, load)
	}
	b.WriteString("## More connections\n\nEcho of 256 B on each of them, one message under way.\n\n![rate by connections](performance/growth.svg)\n\n")
	b.WriteString("## An idle connection\n\n| server | resident bytes of each (range) |\n|---|---|\n")
	for _, s := range p.servers("idle connections") {
		fmt.Fprintf(&b, "| %s | %s |\n", s, p.of("idle connections", s, "resident bytes each").text("%.0f"))
	}
	b.WriteString(middle)
	b.WriteString("| work | figure (range) | which is | benchmark |\n|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` |\n", r.what, bench[r.benchmark][r.unit].text(r.format), r.says, r.benchmark)
	}
	return b.String()
}

func loadTable(b *strings.Builder, p *peers, load string) {
	fmt.Fprintf(b, "### %s\n\n| server | k/s (range) | p50 µs | p99 µs | p99.9 µs | processor µs a request (range) | of it user |\n|---|---|---|---|---|---|---|\n", load)
	for _, s := range p.servers(load) {
		of := func(measure string) series { return p.of(load, s, measure) }
		rate := make(series, 0, len(of("requests/s")))
		for _, v := range of("requests/s") {
			rate = append(rate, v/1000)
		}
		fmt.Fprintf(b, "| %s | %s | %.0f | %.0f | %.0f | %s | %.2f |\n", s, rate.text("%.1f"), of("p50 us").median(), of("p99 us").median(), of("p99.9 us").median(), of("cpu us").text("%.2f"), of("user us").median())
	}
	b.WriteString("\n")
}

const head = `# Performance

Written by ` + "`make bench`" + `, which measures everything on this page in one run; do not edit it by hand. Measured on: %s.

Read the ratios and mind the ranges; two figures whose ranges overlap are not different, and absolute times are those of one small
machine. A server runs on one processor and the load on the other. The load is a C program that never sleeps and compares every byte; every round
runs every server in a drawn order. Before it is timed a server has to give 100 MiB to a slow reader, an answer after half-close, and an
answer before a close. *open* sends when a message is due, whether or not the server keeps up, and counts its delay from then.
Processor time is the scheduler's (schedstat), and nearly all of it is the kernel's, the same for everybody. What is short of
its aim, and why: [slower.md](slower.md).

`

const middle = `
## Beside others in one process

Each of these benchmarks runs both sides in turns, or is ours alone where there is nobody to compare with; medians of five runs and their range.

`
