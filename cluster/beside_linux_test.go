package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Ours beside bare nats.go. Each round does some work with this package and the same
// amount with nats.go on the connections of the same nodes, so both meet the same
// machine. A side ends when its work was done where it was sent to. What is reported
// is the median of the rounds; the log has what
// four of five rounds lie between.

// sample is what one side of a round took.
type sample struct{ took, cpu time.Duration }

// each is the sample of one of n pieces of work.
func (s sample) each(n int) sample {
	return sample{s.took / time.Duration(n), s.cpu / time.Duration(n)}
}

// measure runs work. cpu is of the whole process: sender, server and receiver, user
// and system.
func measure(work func()) sample {
	cpu, begin := spent(), time.Now()
	work()
	return sample{time.Since(begin), spent() - cpu}
}

// spent is the processor time that this process has used.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// beside runs rounds of both sides, n pieces of work each, and reports them: ns for
// one piece, its cpu-ns, the same of raw, and both as ratios, ours to raw.
func beside(b *testing.B, n int, ours, raw func()) {
	var a, z []sample
	var wall, cpu []float64
	for b.Loop() {
		x, y := measure(ours).each(n), measure(raw).each(n)
		a, z = append(a, x), append(z, y)
		wall = append(wall, ratio(x.took, y.took))
		cpu = append(cpu, ratio(x.cpu, y.cpu))
	}
	for side, all := range map[string][]sample{"": a, "raw-": z} {
		b.ReportMetric(float64(median(column(all, false))), side+"ns")
		b.ReportMetric(float64(median(column(all, true))), side+"cpu-ns")
	}
	b.ReportMetric(median(wall), "ratio")
	b.ReportMetric(median(cpu), "cpu-ratio")
	b.ReportMetric(0, "ns/op") // of a round: says nothing
	b.Logf("%d rounds of %d: ours %s, cpu %s; raw %s, cpu %s; ratio %s, cpu %s", len(a), n,
		span(column(a, false)), span(column(a, true)), span(column(z, false)), span(column(z, true)), span(wall), span(cpu))
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

func column(all []sample, cpu bool) (out []time.Duration) {
	for _, s := range all {
		if cpu {
			out = append(out, s.cpu)
		} else {
			out = append(out, s.took)
		}
	}
	return out
}

// span is what four of five values lie between, for people.
func span[T cmp.Ordered](all []T) string {
	slices.Sort(all)
	return fmt.Sprintf("%.4v-%.4v", all[len(all)/10], all[len(all)-1-len(all)/10])
}

func median[T cmp.Ordered](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}
