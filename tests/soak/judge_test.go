package soak

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// planted is a run of an hour in which nothing is wrong but what change does to it.
func planted(change func(r *run)) run {
	rnd := rand.New(rand.NewPCG(7, 7))
	r := run{Lasted: time.Hour, Warm: 3 * time.Minute, Done: map[string]uint64{}, Kept: 20_000}
	for kind, n := range perSecond {
		r.Done[kind] = uint64(n*3600) + 1
	}
	for i := range 720 {
		for _, process := range []string{"edge", "hub", "stay"} {
			l := look{Process: process, At: time.Duration(i) * 5 * time.Second, Seen: map[string]float64{
				heap: 30 + 2*rnd.Float64(), goroutines: float64(100 + rnd.IntN(20)), descriptors: float64(60 + rnd.IntN(30))}}
			if i < 36 { // what is made once is made in the beginning
				l.Seen[heap] -= 20
			}
			if process == "edge" {
				l.Seen[p99] = 10 + 8*rnd.Float64()
			}
			r.Looks = append(r.Looks, l)
		}
	}
	if change != nil {
		change(&r)
	}
	return r
}

// rise makes a measure of a process rise by so much in the hour.
func rise(process, measure string, by float64) func(*run) {
	return func(r *run) {
		for _, l := range r.Looks {
			if l.Process == process {
				l.Seen[measure] += by * l.At.Hours()
			}
		}
	}
}

// TestTheCheckerSeesPlantedLeaks: a flat run is ok, and so is one in which what the store is
// told to keep takes memory; a leak in any measure of any process is found and named, and so
// is a run that did too little, looked too rarely, scattered too much or failed.
func TestTheCheckerSeesPlantedLeaks(t *testing.T) {
	for name, change := range map[string]func(*run){
		"flat":                         nil,
		"what is kept":                 rise("hub", heap, 18),
		"a rise that is within limits": rise("stay", goroutines, 4),
		"other work on the machine":    scatter("edge", p99, 3000),
		"it falls":                     rise("edge", heap, -20),
	} {
		if table, breaches := judge(planted(change), "hub"); len(breaches) > 0 || len(table) != 10 {
			t.Errorf("%s: %v, %d rows", name, breaches, len(table))
		}
	}
	for wants, change := range map[string]func(*run){
		"heap, MiB of stay rises":                    rise("stay", heap, 8),
		"heap, MiB of hub rises":                     rise("hub", heap, 40),
		"goroutines of hub rises":                    rise("hub", goroutines, 15),
		"descriptors of edge rises":                  rise("edge", descriptors, 15),
		"p99 of a call, ms of edge rises":            rise("edge", p99, 25),
		"too little was done: 0 children in 1h0m0s":  func(r *run) { delete(r.Done, "children") },
		"too little was done: 59 kills":              func(r *run) { r.Done["kills"] = 59 },
		"nothing was looked at":                      func(r *run) { r.Looks = nil },
		"was looked at 3 times":                      func(r *run) { r.Looks = r.Looks[len(r.Looks)-9:] },
		"a connection ended early":                   func(r *run) { r.Wrong = []string{"a connection ended early"} },
		"goroutines of stay scatters so much that a": scatter("stay", goroutines, 600),
	} {
		_, breaches := judge(planted(change), "hub")
		if text := strings.Join(breaches, "\n"); !strings.Contains(text, wants) {
			t.Errorf("not noticed: %s; it says %q", wants, text)
		}
	}
}

// scatter throws a measure about.
func scatter(process, measure string, by float64) func(*run) {
	return func(r *run) {
		rnd := rand.New(rand.NewPCG(1, 1))
		for _, l := range r.Looks {
			if l.Process == process {
				l.Seen[measure] += by * rnd.Float64()
			}
		}
	}
}

// TestALineAndItsError: of a line without noise the error is nothing; with known noise it is
// what the formula gives.
func TestALineAndItsError(t *testing.T) {
	var at []time.Duration
	var exact, odd []float64
	for i := range 100 {
		at = append(at, time.Duration(i)*36*time.Second)
		exact = append(exact, 5+float64(i)/100*3)
		odd = append(odd, exact[i]+float64(i%2*2-1))
	}
	if l := fit(at, exact); math.Abs(l.slope-3) > 1e-9 || l.err > 1e-9 || math.Abs(l.mean-6.485) > 1e-9 {
		t.Errorf("%+v", l)
	}
	// Σ(x-mean)² of 0, 0.01, … 0.99 is 8.3325; the noise has a variance of 1.
	if l := fit(at, odd); math.Abs(l.err-math.Sqrt(1.0/8.3325)) > 0.01 || math.Abs(l.slope-3) > 2*l.err {
		t.Errorf("%+v", l)
	}
}
