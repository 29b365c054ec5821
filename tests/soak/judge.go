package soak

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The measures of a process.
const (
	heap        = "heap, MiB"
	goroutines  = "goroutines"
	descriptors = "descriptors"
	p99         = "p99 of a call, ms"
)

// look is what was seen of a process at one time.
type look struct {
	Process string
	At      time.Duration // since the load began
	Seen    map[string]float64
}

// A bound is how far a measure may rise in a run, however long it is: by a share of its mean,
// or by so much if that is more. A leak grows with the length of the run, and the bound does
// not: a long run finds a small leak, a short one a large leak.
type bound struct {
	share, least float64
}

var bounds = map[string]bound{
	heap:        {0.05, 4},
	goroutines:  {0.05, 8},
	descriptors: {0.05, 8},
	p99:         {0.5, 10},
}

// storeBytes is how much memory the server may take for a record that it is told to keep: a
// command and a call for later that have ended are kept for an hour, so that their ids
// are known.
const storeBytes = 1024

// fewest is how many looks make a line.
const fewest = 20

// line is a straight line through what was seen.
type line struct {
	mean, slope, err float64 // slope and its standard error: per hour
}

// fit lays the line of least squares through the values at the times.
func fit(at []time.Duration, value []float64) line {
	n := float64(len(at))
	var mx, my float64
	for i := range at {
		mx += at[i].Hours() / n
		my += value[i] / n
	}
	var xx, xy, rest float64
	for i := range at {
		dx := at[i].Hours() - mx
		xx += dx * dx
		xy += dx * (value[i] - my)
	}
	l := line{mean: my, slope: xy / xx}
	for i := range at {
		d := value[i] - my - l.slope*(at[i].Hours()-mx)
		rest += d * d
	}
	l.err = math.Sqrt(rest / (n - 2) / xx)
	return l
}

// run is what a run has done, and what was seen of it.
type run struct {
	Lasted time.Duration
	Warm   time.Duration     // looks before that do not count
	Looks  []look            // in order of time
	Done   map[string]uint64 // by kind of work
	Kept   uint64            // records that the store was told to keep, behind Warm
	Wrong  []string          // what failed
}

// perSecond is how much of each kind of work a run has to do at least.
var perSecond = map[string]float64{
	"connections": 5, "TLS connections": 1, "children": 1, "timers": 100, "calls": 50, "casts": 20, "commands": 1, "calls for later": 0.5, "kills": 1.0 / 60,
}

// row is one line of the printed table.
type row struct {
	process, measure string
	line             line
	count            int
	rise, doubt, may float64 // over what was seen: by the line, twice its error, and what it may be
	breach           string
	unsure           bool
}

func (r row) String() string {
	result := "ok"
	switch {
	case r.breach != "":
		result = "BROKEN"
	case r.unsure:
		result = "cannot be told"
	}
	return fmt.Sprintf("| %s | %s | %d | %.1f | %+.2f ± %.2f | %+.2f | %.1f | %s |", r.process, r.measure, r.count, r.line.mean, r.line.slope, r.line.err, r.rise, r.may, result)
}

const head = "| process | measure | looks | mean | slope per hour, and its error | rise in the run | it may be | result |\n|---|---|---|---|---|---|---|---|"

// judge reads a run: its table, and what breaks the promise.
func judge(r run, storing string) (table []row, breaches []string) {
	breaches = slices.Clone(r.Wrong)
	for _, kind := range sorted(perSecond) {
		if have, want := r.Done[kind], perSecond[kind]*r.Lasted.Seconds(); float64(have) < math.Floor(want) {
			breaches = append(breaches, fmt.Sprintf("too little was done: %d %s in %v, and %.0f are the least", have, kind, r.Lasted.Round(time.Second), want))
		}
	}
	at, seen := map[[2]string][]time.Duration{}, map[[2]string][]float64{}
	var keys [][2]string
	for _, l := range r.Looks {
		for _, measure := range sorted(l.Seen) {
			k := [2]string{l.Process, measure}
			if l.At < r.Warm {
				continue
			}
			if seen[k] == nil {
				keys = append(keys, k)
			}
			at[k], seen[k] = append(at[k], l.At), append(seen[k], l.Seen[measure])
		}
	}
	if len(keys) == 0 {
		breaches = append(breaches, "nothing was looked at")
	}
	slices.SortFunc(keys, func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	for _, k := range keys {
		one := assess(k[0], k[1], at[k], seen[k])
		if k[0] == storing && k[1] == heap {
			one.may += float64(r.Kept) * storeBytes / (1 << 20)
		}
		if one.breach == "" {
			one.breach = one.verdict()
		}
		if one.breach != "" {
			breaches = append(breaches, fmt.Sprintf("%s of %s %s", one.measure, one.process, one.breach))
		}
		table = append(table, one)
	}
	return table, breaches
}

func assess(process, measure string, at []time.Duration, value []float64) row {
	r := row{process: process, measure: measure, count: len(at)}
	if len(at) < fewest {
		r.breach = fmt.Sprintf("was looked at %d times, and %d make a line", len(at), fewest)
		return r
	}
	r.line = fit(at, value)
	hours := (at[len(at)-1] - at[0]).Hours()
	r.rise, r.doubt = r.line.slope*hours, 2*r.line.err*hours
	b := bounds[measure]
	r.may = max(b.share*r.line.mean, b.least)
	r.unsure = r.doubt > 2*r.may
	return r
}

// verdict says what is wrong with a line, or nothing.
func (r row) verdict() string {
	switch {
	case r.rise-r.doubt > r.may:
		return fmt.Sprintf("rises by %.2f (+- %.2f) in the run, and may by %.2f", r.rise, r.doubt, r.may)
	case r.unsure && r.measure != p99: // how long a call takes is a matter of what else the machine does
		return fmt.Sprintf("scatters so much that a rise of %.2f cannot be told (+- %.2f): the run proves nothing", r.may, r.doubt)
	}
	return ""
}

func sorted[V any](m map[string]V) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
