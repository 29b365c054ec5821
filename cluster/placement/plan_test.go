package placement

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// world is a cluster as the plan sees it, for random scripts: what it orders is done by
// the model, which hosts come, go, and end instances.
type world struct {
	rng   *rand.Rand
	now   time.Time
	wants map[id]want
	hosts map[string]*host
}

func (w *world) list() (out []host) {
	for _, h := range w.hosts {
		out = append(out, *h)
	}
	return out
}

// carryOut does what was ordered. It fails the test when an order makes no sense.
func (w *world) carryOut(t *testing.T, orders []order) {
	t.Helper()
	for _, o := range orders {
		h := w.hosts[o.node]
		switch {
		case h == nil:
			t.Fatalf("an order for %s, which is not there", o.node)
		case !o.start:
			delete(h.has, o.id)
		case w.wants[o.id].State != Wanted:
			t.Fatalf("%v is started and not wanted", o.id)
		case w.now.Before(w.wants[o.id].notBefore()):
			t.Fatalf("%v is started %v too early", o.id, w.wants[o.id].notBefore().Sub(w.now))
		default:
			for _, other := range w.hosts {
				if s, ok := other.has[o.id]; ok && !s.Ended {
					t.Fatalf("%v is started on %s and stands on %s", o.id, o.node, other.node)
				}
			}
			h.has[o.id] = standing{Owns: w.rng.IntN(2) == 0}
		}
	}
}

// check is what is so after every plan: everything wanted that may start stands once, and
// nothing else stands.
func (w *world) check(t *testing.T) {
	t.Helper()
	count := map[id]int{}
	for _, h := range w.hosts {
		for i, s := range h.has {
			if s.Ended || w.wants[i].State != Wanted {
				t.Fatalf("%v stands on %s, ended %v, wanted %v", i, h.node, s.Ended, w.wants[i].State)
			}
			count[i]++
		}
	}
	for i, want := range w.wants {
		may := want.State == Wanted && !w.now.Before(want.notBefore()) && len(w.hosts) > 0
		if n := count[i]; n > 1 || may && n == 0 {
			t.Fatalf("%v stands %d times", i, n)
		}
	}
	if again := plan(w.now, w.wants, w.list()); len(again) != 0 {
		t.Fatalf("a second plan of the same orders %v", again)
	}
}

func TestRandomPlans(t *testing.T) {
	for seed := range uint64(300) {
		w := &world{rng: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1e9, 0), wants: map[id]want{}, hosts: map[string]*host{}}
		for range 60 {
			w.now = w.now.Add(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
			i := id{"k", fmt.Sprint(w.rng.IntN(12))}
			name := fmt.Sprint("n", w.rng.IntN(5))
			switch w.rng.IntN(6) {
			case 0, 1:
				w.wants[i] = want{ID: i, State: Wanted, Most: 3, Within: time.Minute}
			case 2:
				delete(w.wants, i)
			case 3:
				w.hosts[name] = &host{node: name, kinds: []string{"k"}, has: map[id]standing{}}
			case 4:
				delete(w.hosts, name)
			case 5: // an instance fails, or one was started twice by two supervisors
				for _, h := range w.hosts {
					for i := range h.has {
						if w.rng.IntN(2) == 0 {
							h.has[i] = standing{Ended: true, Error: "x"}
							w.wants[i] = w.wants[i].failed(w.now, h.node, "x")
						}
						break
					}
					if have, ok := w.wants[i]; ok && have.State == Wanted && w.rng.IntN(3) == 0 {
						h.has[i] = standing{}
					}
				}
			}
			orders := plan(w.now, w.wants, w.list())
			if twice := plan(w.now, w.wants, w.list()); len(orders)+len(twice) > 0 && len(orders) != len(twice) {
				t.Fatalf("two plans of one state: %v and %v", orders, twice)
			}
			w.carryOut(t, orders)
			w.check(t)
		}
	}
}

func TestAPlanSpreads(t *testing.T) {
	w := &world{rng: rand.New(rand.NewPCG(1, 1)), now: time.Unix(1e9, 0), wants: map[id]want{}, hosts: map[string]*host{}}
	for i := range 31 {
		x := id{"k", fmt.Sprint(i)}
		w.wants[x] = want{ID: x, State: Wanted}
	}
	for _, name := range []string{"a", "b", "c"} {
		w.hosts[name] = &host{node: name, kinds: []string{"k"}, has: map[id]standing{}}
	}
	w.hosts["other"] = &host{node: "other", kinds: []string{"z"}, has: map[id]standing{}}
	w.carryOut(t, plan(w.now, w.wants, w.list()))
	for _, h := range w.hosts {
		if n := len(h.has); h.node == "other" && n != 0 || h.node != "other" && (n < 10 || n > 11) {
			t.Errorf("%s has %d", h.node, n)
		}
	}
}

// TestOfTwoThatStandTheOwnerStays: the other one is told to stop.
func TestOfTwoThatStandTheOwnerStays(t *testing.T) {
	i := id{"k", "x"}
	wants := map[id]want{i: {ID: i, State: Wanted}}
	hosts := []host{
		{"a", []string{"k"}, map[id]standing{i: {}}},
		{"b", []string{"k"}, map[id]standing{i: {Owns: true}}},
		{"c", []string{"k"}, map[id]standing{i: {}}},
	}
	if got, want := plan(time.Now(), wants, hosts), []order{{"a", i, false}, {"c", i, false}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestTheBudgetOfFailures: how long an instance waits after each, and when it has failed.
func TestTheBudgetOfFailures(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	w := want{ID: id{"k", "x"}, State: Wanted, Most: 3, Within: time.Minute}
	for n, pause := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		w = w.failed(now, "a", "x")
		if got := w.notBefore().Sub(now); got != pause || w.State != Wanted || w.On != "a" {
			t.Errorf("failure %d: %v, %v, %s", n+1, got, w.State, w.On)
		}
	}
	if later := w.failed(now.Add(2*time.Minute), "a", "x"); later.State != Wanted || len(later.Failures) != 1 {
		t.Errorf("failures of long ago count: %v", later)
	}
	if w = w.failed(now, "a", "x"); w.State != Failed {
		t.Errorf("a budget of 3 takes a fourth failure: %v", w.State)
	}
	w.Failures = make([]time.Time, 40)
	if got := w.notBefore().Sub(time.Time{}); got != pauseMost {
		t.Errorf("the longest pause is %v", got)
	}
}

// TestAnEndIsCountedOnce: a host tells of it until the order to forget it has arrived.
func TestAnEndIsCountedOnce(t *testing.T) {
	store, nodes := stored(t, 1)
	if err := Want(testCtx(t), store, "shard", "x"); err != nil {
		t.Fatal(err)
	}
	i := id{"shard", "x"}
	rec, err := storeOf(store).Get(testCtx(t), i.subject())
	if err != nil {
		t.Fatal(err)
	}
	first, _ := readWant(rec)
	s := &supervisor{node: nodes[0], store: storeOf(nodes[0]), log: hclog.NewNullLogger(), wants: map[string]want{i.subject(): first}}
	hosts := []host{{"a/io-0", []string{"shard"}, map[id]standing{i: {Ended: true, Error: "x", Token: 7}}}}
	for range 3 {
		wants := map[id]want{i: s.wants[i.subject()]}
		if left, ok := s.settle(testCtx(t), wants, hosts); !ok || len(left) != 0 || len(wants[i].Failures) != 1 {
			t.Fatalf("%+v", wants[i])
		}
	}
	hosts[0].has[i] = standing{Ended: true, Error: "x", Token: 9}
	wants := map[id]want{i: s.wants[i.subject()]}
	if left, ok := s.settle(testCtx(t), wants, hosts); !ok || len(left) != 0 || len(wants[i].Failures) != 2 {
		t.Errorf("the end of a later run: %+v", wants[i])
	}
	if left, ok := s.settle(testCtx(t), map[id]want{i: first}, hosts); !ok || !left[i] {
		t.Error("a supervisor that knows an old record writes over a newer one")
	}
}
