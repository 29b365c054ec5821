package simulate

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/tests/prove/history"
)

var (
	seeds = flag.Uint64("seeds", 1, "how many plans to try")
	first = flag.Uint64("first", 0, "the first seed")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rows are what a run has to keep.
var rows = []struct {
	promise string
	check   func([]history.Event) history.Result
}{
	{"a call ends once, by its deadline, and runs at most once", history.Calls},
	{"calls without an answer run in order and once; what does not run is told", history.Casts},
	{"whoever watches is told exactly once, and only of the dead", history.Watches},
	{"after a fault every node knows every other one", func(all []history.Event) history.Result { return history.Recovered(all, 15*time.Second) }},
	{"every fault was injected, and enough traffic passed", func(all []history.Event) history.Result {
		return history.Enough(all, kinds, map[history.Op]int{history.Call: 150, history.Cast: 150, history.Watch: 1})
	}},
}

// TestSimulate tries plans. A seed that fails prints its plan.
func TestSimulate(t *testing.T) {
	begun, events := time.Now(), 0
	for seed := *first; seed < *first+*seeds; seed++ {
		all := simulate(t, seed, "")
		events += len(all)
		if broken := breaches(all); len(broken) > 0 {
			t.Errorf("seed %d (make simulate SEEDS=1 FIRST=%d):\n\t%s\nthe plan:\n\t%s", seed, seed, strings.Join(broken, "\n\t"), strings.Trim(fmt.Sprintf("%v", makePlan(seed)), "[]"))
		}
		if n := seed - *first + 1; n%20 == 0 {
			fmt.Printf("%d seeds in %v\n", n, time.Since(begun).Round(time.Second))
		}
		if t.Failed() && seed > *first+20 {
			break
		}
	}
	t.Logf("%d seeds, %d events, %v", *seeds, events, time.Since(begun).Round(time.Millisecond))
}

// breaches is what all checkers say.
func breaches(all []history.Event) (list []string) {
	for _, row := range rows {
		r := row.check(all)
		if r.Ops == 0 {
			list = append(list, row.promise+": nothing was judged")
		}
		for _, b := range r.Breaches {
			list = append(list, row.promise+": "+b)
		}
	}
	return list
}

// simulate makes the run of one seed, and returns its history.
func simulate(t *testing.T, seed uint64, planted string) (all []history.Event) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		begun := time.Now()
		now = &world{planted: planted, stop: make(chan struct{})}
		now.written = history.NewLog("simulation", func() int64 { return int64(time.Since(begun)) + 1 }, &text)
		w := now
		w.Cluster = clustertest.Virtual(t, len(clients)+len(victims), func(name string, cfg *cluster.Config) {
			cfg.Prepare = func(_ context.Context, n *cluster.Node) error {
				_, err := n.NewLoop(address, clustertest.VirtualLoop)
				return err
			}
			cfg.OnLoss = func(l cluster.Loss) { w.lost(name, l) }
		})
		w.load()
		<-time.After(2 * time.Second)
		for _, f := range makePlan(seed) {
			w.inject(f)
			from := time.Now()
			w.Together()
			w.written.Add(history.Event{Op: history.Members, To: f.victim, Err: string(f.kind), N: uint64(time.Since(from))})
			<-time.After(f.then)
		}
		close(w.stop)
		w.work.Wait()
		<-time.After(20 * time.Second) // for what is told late
		if err := w.written.Err(); err != nil {
			t.Error(err)
		}
		all = read(t, text.Bytes())
	})
	return all
}

// read gives the events of a history.
func read(t *testing.T, text []byte) []history.Event {
	t.Helper()
	dir := t.TempDir()
	err := os.WriteFile(filepath.Join(dir, "simulation.jsonl"), text, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	all, err := history.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// inject brings one fault about and takes it back.
func (w *world) inject(f fault) {
	tell := func(step history.Step) {
		w.written.Add(history.Event{Op: history.Fault, Step: step, Err: string(f.kind), To: f.victim})
	}
	tell(history.Began)
	switch {
	case f.kind == history.Kill:
		w.Crash(f.victim)
	case f.kind == history.Restart:
		w.Restart(f.victim)
	case f.kind == late:
		w.Delay(f.victim, f.by)
	case f.ends:
		w.Unplug(f.victim)
	default:
		w.Cut(f.victim)
	}
	<-time.After(f.lasts)
	switch f.kind {
	case history.Kill:
		w.Restart(f.victim)
	case history.Restart:
	case late:
		w.Delay(f.victim, 0)
	default:
		w.Heal(f.victim)
	}
	tell(history.Ended)
}

// TestPlantedFaults: a run in which calls run twice, or calls without an answer get lost
// without a word, is noticed.
func TestPlantedFaults(t *testing.T) {
	for planted, says := range map[string]string{"twice": "ran 2 times", "lost": "were told of"} {
		if broken := breaches(simulate(t, 1, planted)); !slices.ContainsFunc(broken, func(b string) bool { return strings.Contains(b, says) }) {
			t.Errorf("%s: not noticed: %q", planted, broken)
		}
	}
}

// TestASeedIsAPlan: the same seed plans the same faults, another one others.
func TestASeedIsAPlan(t *testing.T) {
	if !slices.Equal(makePlan(7), makePlan(7)) || slices.Equal(makePlan(7), makePlan(8)) {
		t.Error("a seed is no plan")
	}
	count := map[history.Kind]int{}
	for _, f := range makePlan(7) {
		count[f.kind]++
	}
	for _, k := range kinds {
		if count[k] == 0 {
			t.Errorf("no %s in the plan", k)
		}
	}
}
