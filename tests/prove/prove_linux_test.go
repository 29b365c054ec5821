package prove

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/tests/prove/history"
)

var (
	seed     = flag.Uint64("seed", 1, "decides which faults come when, and to whom")
	lasting  = flag.Duration("for", 0, "how long to inject faults; 0: the small form")
	longest  = flag.Duration("longest", 12*time.Second, "the longest stop and partition")
	keepFlag = flag.String("keep", "", "a folder that the histories of the run go to")
	only     = flag.String("only", "", "the kinds of faults to inject, separated by commas; default: all that are possible")
	leading  = flag.Bool("leading", false, "wall clocks are set at the server that leads: this breaks promises, see docs/promises.md")
	judged   = flag.String("judge", "", "a folder with histories of an earlier run: judge them and run nothing")
)

func TestMain(m *testing.M) {
	if text := os.Getenv(roleVariable); text != "" {
		fmt.Fprintln(os.Stderr, live(text))
		os.Exit(1)
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}

// form is how large a run is.
type form struct {
	apart bool
	names int
	size  size
	kinds []history.Kind // nil: all that are possible
	lasts time.Duration  // a round of the deck is injected in any case
	least map[history.Op]int
}

// TestProve is the run that make prove makes; make test has a small form of it.
func TestProve(t *testing.T) {
	if *judged != "" {
		all, err := history.Read(*judged)
		if err != nil {
			t.Fatal(err)
		}
		report(t, all, nil, "", nil, nil)
		return
	}
	f := form{
		names: 4,
		size:  size{callers: 2, lanes: 4, commands: 150 * time.Millisecond, casts: 10 * time.Millisecond, timers: 100 * time.Millisecond, furthest: 3 * time.Second},
		kinds: []history.Kind{history.Kill, history.Pause, history.Leader},
		least: map[history.Op]int{history.Call: 300, history.Cast: 500, history.Command: 50, history.Timer: 50, history.Act: 200, history.Claim: 4, history.Watch: 2, history.Connect: 50, history.Kept: 50},
	}
	if *lasting > 0 {
		scale := int(*lasting/time.Minute) + 1
		f = form{
			apart: true, names: 20, lasts: *lasting,
			size:  size{callers: 4, lanes: 16, commands: 800 * time.Millisecond, casts: 10 * time.Millisecond, timers: 100 * time.Millisecond, furthest: 10 * time.Second},
			least: map[history.Op]int{history.Call: 5000 * scale, history.Cast: 5000 * scale, history.Command: 500 * scale, history.Timer: 200 * scale, history.Act: 2000 * scale, history.Claim: 30 * scale, history.Watch: 10, history.Connect: 1000 * scale, history.Kept: 1000 * scale, history.Late: 1},
		}
	}
	if *only != "" {
		f.kinds = nil
		for name := range strings.SplitSeq(*only, ",") {
			f.kinds = append(f.kinds, history.Kind(name))
		}
		if !slices.ContainsFunc(f.kinds, func(k history.Kind) bool { may, _ := k.Deadly(); return may }) {
			delete(f.least, history.Watch) // nobody dies, and nobody is replaced
			delete(f.least, history.Late)
		}
	}
	campaign(t, f)
}

// campaign makes one run and judges it.
func campaign(t *testing.T, f form) {
	g := newGround(t, f.apart, f.names)
	can, without := g.possible()
	kinds := f.kinds
	if kinds == nil {
		for _, d := range deck {
			if can[d.kind] {
				kinds = append(kinds, d.kind)
			}
		}
	}
	for k := range can {
		can[k] = false
	}
	for _, k := range kinds {
		can[k] = true
	}
	if _, err := g.together(startLimit); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var measuring sync.WaitGroup
	measuring.Go(func() { measure(g.processes, stop) })
	work := newLoad(g, f.size)
	injected := g.injectAll(makePlan(*seed, 1000, *longest, voters, workers, can), round(can), f.lasts)
	broken := work.drain(90*time.Second, f.names)
	if broken != nil {
		t.Error(broken)
	}
	close(stop)
	measuring.Wait()
	g.end()
	all, err := history.Read(g.dir)
	if err != nil || broken != nil {
		t.Fatal(err)
	}
	if *keepFlag != "" {
		if err := os.CopyFS(*keepFlag, os.DirFS(g.dir)); err != nil {
			t.Error(err)
		}
	}
	for _, w := range work.wrong {
		t.Error(w)
	}
	report(t, all, injected, without, kinds, f.least)
}

// injectAll injects the faults of a plan one after another, at least so many and until the
// time is over, and returns those that it has injected.
func (g *ground) injectAll(plan []fault, least int, d time.Duration) (done []fault) {
	begin := time.Now()
	<-time.After(time.Second)
	for _, f := range plan {
		if len(done) >= least && time.Since(begin) > d {
			break
		}
		if err := (injector{g}).inject(f); err != nil {
			g.t.Errorf("seed %d, fault %d: %v", *seed, len(done), err)
			break
		}
		done = append(done, f)
		took, err := g.together(startLimit)
		if err != nil {
			g.t.Errorf("seed %d, fault %d, %v: %v", *seed, len(done), f, err)
			break
		}
		written.Add(history.Event{Op: history.Members, To: f.victim, Err: string(f.kind), N: uint64(took)})
		g.t.Logf("%6.1fs %v; all knew all %v later", time.Since(begin).Seconds(), f, took.Round(time.Millisecond))
		<-time.After(f.then)
	}
	return done
}

// end ends everything that writes histories.
func (g *ground) end() {
	began(history.Restart, clients...) // the one that is closed last hears of the others' end
	for _, c := range g.clients {
		c.Close()
	}
	for _, p := range g.processes {
		l := p.alive()
		if p.kill(); g.t.Failed() && l != nil {
			g.t.Logf("%s said at last: %s", p.role.Node, last(l.errs.String()))
		}
	}
	if err := finish(); err != nil {
		g.t.Error(err)
	}
	if err := written.Err(); err != nil {
		g.t.Error(err)
	}
}
