package history

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

const sec = int64(time.Second)

// at gives events the times 1 s, 2 s, … where they have none, and a process.
func at(events ...Event) []Event {
	for i := range events {
		if events[i].At == 0 {
			events[i].At = int64(i+1) * sec
		}
		if events[i].By == "" {
			events[i].By = "c1.1"
		}
	}
	return events
}

// planted is a history and what a checker has to say about it; "": nothing.
type planted struct {
	what   string
	events []Event
	want   string
}

func check(t *testing.T, checker func([]Event) Result, rows []planted) {
	t.Helper()
	good, bad := 0, 0
	for _, row := range rows {
		r := checker(at(row.events...))
		got := strings.Join(r.Breaches, "\n")
		switch {
		case row.want == "" && got != "":
			t.Errorf("%s: refused: %s", row.what, got)
		case row.want == "" && r.Ops == 0:
			t.Errorf("%s: nothing was judged", row.what)
		case !strings.Contains(got, row.want):
			t.Errorf("%s: said %q, want %q", row.what, got, row.want)
		}
		if row.want == "" {
			good++
		} else {
			bad++
		}
	}
	if good == 0 || bad == 0 {
		t.Fatal("a table needs histories that pass and some that do not")
	}
}

func TestCalls(t *testing.T) {
	ask := Event{Op: Call, Step: Invoke, ID: "1", To: "w1", Due: 10 * sec}
	ran := Event{Op: Call, Step: Ran, ID: "1", By: "w1.1"}
	end := func(s Step) Event { return Event{Op: Call, Step: s, ID: "1"} }
	late := end(Unknown)
	late.At = 12 * sec
	check(t, Calls, []planted{
		{"an answer", []Event{ask, ran, end(OK)}, ""},
		{"unknown and it ran", []Event{ask, ran, end(Unknown)}, ""},
		{"unknown and it did not run", []Event{ask, end(Unknown)}, ""},
		{"refused", []Event{ask, end(Refused)}, ""},
		{"it ran twice", []Event{ask, ran, ran, end(OK)}, "ran 2 times"},
		{"it ran again after it was unknown", []Event{ask, ran, end(Unknown), ran}, "ran 2 times"},
		{"no end", []Event{ask, ran}, "ended 0 times"},
		{"two ends", []Event{ask, ran, end(OK), end(Unknown)}, "ended 2 times"},
		{"an answer of nobody", []Event{ask, end(OK)}, "never ran"},
		{"refused and it ran", []Event{ask, ran, end(Refused)}, "was refused"},
		{"nobody asked", []Event{ran}, "nobody made it"},
		{"late", []Event{ask, late}, "after its deadline"},
	})
}

func TestCasts(t *testing.T) {
	sent := func(n uint64, s Step) Event { return Event{Op: Cast, Step: s, ID: "s", To: "w1", N: n} }
	ran := func(n uint64, by string) Event { return Event{Op: Cast, Step: Ran, ID: "s", To: "w1", N: n, By: by} }
	told := func(n uint64) Event { return Event{Op: Cast, Step: Told, To: "w1", N: n} }
	check(t, Casts, []planted{
		{"in order", []Event{sent(1, OK), sent(2, OK), ran(1, "w1.1"), ran(2, "w1.1")}, ""},
		{"a gap that was told of", []Event{sent(1, OK), sent(2, OK), sent(3, OK), ran(1, "w1.1"), told(1), ran(3, "w1.2")}, ""},
		{"an unknown one is missing", []Event{sent(1, OK), sent(2, Unknown), ran(1, "w1.1")}, ""},
		{"in another order", []Event{sent(1, OK), sent(2, OK), ran(2, "w1.1"), ran(1, "w1.1")}, "1 ran (in w1.1) after 2"},
		{"twice", []Event{sent(1, OK), ran(1, "w1.1"), ran(1, "w1.1")}, "1 ran (in w1.1) after 1"},
		{"twice, in two lives", []Event{sent(1, OK), ran(1, "w1.1"), ran(1, "w1.2")}, "after 1 (in w1.1)"},
		{"lost without a word", []Event{sent(1, OK), sent(2, OK), ran(1, "w1.1")}, "only 0 were told of"},
		{"two lost, one told of", []Event{sent(1, OK), sent(2, OK), told(1)}, "only 1 were told of"},
		{"told to somebody else", []Event{sent(1, OK), {Op: Cast, Step: Told, To: "w2", N: 1}}, "only 0 were told of"},
		{"refused and it ran", []Event{sent(1, Refused), ran(1, "w1.1")}, "refused and ran"},
	})
}

func TestCommands(t *testing.T) {
	ask := func(id string) Event { return Event{Op: Command, Step: Invoke, ID: id, To: "lane"} }
	end := func(id string, s Step) Event { return Event{Op: Command, Step: s, ID: id} }
	effect := func(id string) Event { return Event{Op: Effect, ID: id, To: "list"} }
	other := func(id string) Event { return Event{Op: Effect, ID: id, To: "list 2"} }
	ran := func(id string) Event { return Event{Op: Command, Step: Ran, ID: id} }
	check(t, Commands, []planted{
		{"two in order", []Event{ask("a"), end("a", OK), ask("b"), end("b", OK), effect("a"), effect("b")}, ""},
		{"it ran twice and had one effect", []Event{ask("a"), {Op: Command, Step: Ran, ID: "a"}, end("a", OK), {Op: Command, Step: Ran, ID: "a"}, effect("a")}, ""},
		{"unknown and then accepted", []Event{ask("a"), end("a", Unknown), ask("a"), end("a", OK), effect("a")}, ""},
		{"an unknown one between", []Event{ask("a"), end("a", OK), ask("u"), end("u", Unknown), ask("b"), end("b", OK), effect("a"), effect("b"), effect("u")}, ""},
		{"lost", []Event{ask("a"), end("a", OK)}, "has had no effect"},
		{"two effects", []Event{ask("a"), end("a", OK), effect("a"), effect("a")}, "effect 2 times"},
		{"two effects of an unknown one", []Event{ask("a"), end("a", Unknown), effect("a"), effect("a")}, "effect 2 times"},
		{"refused and an effect", []Event{ask("a"), end("a", Refused), effect("a")}, "was refused"},
		{"an effect of nothing", []Event{ask("a"), end("a", OK), effect("a"), effect("x")}, "nobody asked for it"},
		{"a run of nothing", []Event{{Op: Command, Step: Ran, ID: "x"}}, "nobody asked for it"},
		{"in another order", []Event{ask("a"), end("a", OK), ask("b"), end("b", OK), effect("b"), effect("a")}, "came before it"},
		{"in order, in two lists", []Event{ask("a"), end("a", OK), ask("b"), end("b", OK), ran("a"), ran("b"), effect("a"), other("b")}, ""},
		{"in another order, in two lists", []Event{ask("a"), end("a", OK), ask("b"), end("b", OK), ran("b"), ran("a"), effect("a"), other("b")}, "came before it"},
	})
}

func TestTimers(t *testing.T) {
	ask := Event{Op: Timer, Step: Invoke, ID: "a", To: "shop", Due: 100 * sec}
	ran := func(wall int64) Event { return Event{Op: Timer, Step: Ran, ID: "a", Wall: wall} }
	end := func(s Step) Event { return Event{Op: Timer, Step: s, ID: "a"} }
	effect := Event{Op: Effect, ID: "a", To: "list"}
	check(t, Timers, []planted{
		{"once", []Event{ask, end(OK), ran(101 * sec), effect}, ""},
		{"two runs, one effect", []Event{ask, end(OK), ran(101 * sec), ran(103 * sec), effect}, ""},
		{"lost", []Event{ask, end(OK)}, "has had no effect"},
		{"it ran without an effect", []Event{ask, end(OK), ran(101 * sec)}, "it ran 1 times"},
		{"two effects", []Event{ask, end(OK), ran(101 * sec), effect, effect}, "effect 2 times"},
		{"too early", []Event{ask, end(OK), ran(99 * sec), effect}, "1s before its time"},
		{"the second run too early", []Event{ask, end(OK), ran(101 * sec), ran(99 * sec), effect}, "before its time"},
	})
}

// TestTimersUnderWallClocks: spans of ten seconds, and times of day, on w1, whose wall clock is
// set an hour ahead or behind from second 20 to 30.
func TestTimersUnderWallClocks(t *testing.T) {
	const hour = int64(time.Hour)
	clock := func(s Step, at, ahead int64) Event {
		return Event{Op: Fault, Step: s, Err: string(Clock), To: "w1", At: at * sec, Wall: ahead}
	}
	span := func(id string, at int64) Event {
		return Event{Op: Timer, Step: Invoke, ID: id, To: "shop", At: at * sec, Due: (1000 + at + 10) * sec, Span: 10 * sec}
	}
	day := func(id string, at int64) Event {
		e := span(id, at)
		e.Span = 0
		return e
	}
	// The wall clock of the machine reads 1000 s at second 0.
	ran := func(id string, at, ahead int64, token uint64) Event {
		return Event{Op: Timer, Step: Ran, ID: id, By: "w1.3", At: at * sec, Wall: (1000+at)*sec + ahead, N: token}
	}
	// history is one in which x runs first under token 7, then b, about which it is.
	history := func(ahead int64, b ...Event) []Event {
		all := []Event{span("x", 1), ran("x", 12, 0, 7), clock(Began, 20, ahead)}
		end := int64(30)
		all = append(all, b...)
		all = append(all, clock(Ended, end, ahead), Event{Op: Effect, ID: "x", To: "list", At: 90 * sec}, Event{Op: Effect, ID: "b", To: "list", At: 91 * sec})
		slices.SortStableFunc(all, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
		return all
	}
	check(t, Timers, []planted{
		{"a span as long as it was asked for, ahead", history(hour, span("b", 15), ran("b", 25, hour, 7)), ""},
		{"a span as long as it was asked for, behind", history(-hour, span("b", 15), ran("b", 25, -hour, 7)), ""},
		{"an owner of before lets its clock shorten a span", history(hour, span("b", 15), ran("b", 21, hour, 7)), "b ran 4s before its time"},
		{"the clock of the one who takes over is ahead", history(hour, span("b", 15), ran("b", 21, hour, 8)), ""},
		{"it is behind", history(-hour, span("b", 15), ran("b", 21, -hour, 8)), "b ran 4s before its time (in w1.3, whose wall clock explains 0s)"},
		{"earlier than its clock was ahead", history(2*sec, span("b", 15), ran("b", 21, 2*sec, 8)), "explains 2s"},
		{"another one takes over, whose clock is right", history(hour, span("b", 15), Event{Op: Timer, Step: Ran, ID: "b", By: "w2.1", At: 21 * sec, Wall: 1021 * sec, N: 8}, ran("x", 22, hour, 7)), "b ran 4s before its time"},
		{"a time of day that the clock reads", history(hour, day("b", 15), ran("b", 21, hour, 7)), ""},
		{"a time of day that it does not read", history(-hour, day("b", 15), ran("b", 26, -hour, 7)), "b ran 59m59s before its time"},
		{"nothing ran meanwhile", history(hour, span("b", 15), ran("b", 31, 0, 7)), "the fault was none"},
	})
}

func TestWatches(t *testing.T) {
	watch := Event{Op: Watch, Step: Invoke, ID: "1", To: "w1"}
	told := func(at int64) Event { return Event{Op: Watch, Step: Told, ID: "1", At: at * sec} }
	fault := func(k Kind, s Step, at int64) Event {
		return Event{Op: Fault, Step: s, Err: string(k), To: "w1", At: at * sec}
	}
	other := func(s Step, at int64) Event {
		return Event{Op: Fault, Step: s, Err: string(Kill), To: "w2", At: at * sec}
	}
	after := Event{Op: Memory, At: 100 * sec}
	check(t, Watches, []planted{
		{"killed and told", []Event{watch, fault(Kill, Began, 10), told(11), fault(Kill, Ended, 12), after}, ""},
		{"nothing happened", []Event{watch, after}, ""},
		{"cut off and told", []Event{watch, fault(Cut, Began, 10), told(14), fault(Cut, Ended, 16), after}, ""},
		{"cut off and not told", []Event{watch, fault(Cut, Began, 10), fault(Cut, Ended, 12), after}, ""},
		{"watched too late to know it", []Event{{Op: Watch, Step: Invoke, ID: "1", To: "w1", At: 10*sec - 1}, fault(Kill, Began, 10), fault(Kill, Ended, 12), after}, ""},
		{"its server was cut off", []Event{watch, fault(Server, Began, 10), told(14), fault(Server, Ended, 16), after}, ""},
		{"twice", []Event{watch, fault(Kill, Began, 10), told(11), told(12), after}, "told twice"},
		{"without a cause", []Event{watch, told(5), after}, "nothing had been done to it"},
		{"the other one was killed", []Event{watch, other(Began, 4), told(5), other(Ended, 6), after}, "nothing had been done to it"},
		{"before it was killed", []Event{watch, told(5), fault(Kill, Began, 10), fault(Kill, Ended, 12), after}, "nothing had been done to it"},
		{"it was stopped for a moment only", []Event{watch, fault(Pause, Began, 10), told(11), fault(Pause, Ended, 12), after}, "nothing had been done to it"},
		{"its loop was slow", []Event{watch, fault(Slow, Began, 10), told(14), fault(Slow, Ended, 20), after}, "nothing had been done to it"},
		{"never", []Event{watch, fault(Kill, Began, 10), fault(Kill, Ended, 12), after}, "told of at 0"},
		{"after half a minute", []Event{watch, fault(Kill, Began, 10), fault(Kill, Ended, 12), told(40), after}, "told of at 40"},
		{"nobody watched", []Event{told(5)}, "nobody watched"},
	})
}

func TestOwners(t *testing.T) {
	ask := func(id string, s int64) Event { return Event{Op: Claim, Step: Invoke, ID: id, To: "n", At: s * sec} }
	got := func(id string, token uint64, s int64) Event {
		return Event{Op: Claim, Step: OK, ID: id, To: "n", N: token, At: s * sec}
	}
	act := func(token uint64, from, till int64) Event {
		return Event{Op: Act, To: "n", N: token, From: from * sec, At: till * sec}
	}
	limit := func(all []Event) Result { return Owners(all, 10*time.Second) }
	check(t, limit, []planted{
		{"one after the other", []Event{ask("a", 1), got("a", 5, 2), act(5, 3, 4), ask("b", 5), got("b", 9, 6), act(9, 7, 8)}, ""},
		{"the next one waits from the beginning", []Event{ask("b", 1), ask("a", 1), got("a", 5, 2), act(5, 3, 4), got("b", 9, 6), act(9, 7, 8)}, ""},
		{"a look that was stopped in the middle", []Event{ask("a", 1), got("a", 5, 2), act(5, 3, 20), ask("b", 5), got("b", 9, 6), act(9, 7, 8)}, ""},
		{"a claim without an answer", []Event{ask("a", 1), got("a", 5, 2), ask("b", 3), act(5, 7, 8)}, ""},
		{"two at one time", []Event{ask("a", 1), got("a", 5, 2), ask("b", 3), got("b", 9, 4), act(9, 5, 6), act(5, 7, 8)}, "two owners at one time"},
		{"the old one goes on", []Event{ask("a", 1), got("a", 5, 2), ask("b", 3), got("b", 9, 4), act(5, 5, 6)}, "two owners"},
		{"in turns", []Event{ask("a", 1), got("a", 5, 2), act(5, 3, 4), ask("b", 3), got("b", 9, 4), act(9, 5, 6), act(5, 7, 8), act(9, 9, 10)}, "token 9 acted"},
		{"a token twice", []Event{ask("a", 1), got("a", 5, 2), ask("b", 3), got("b", 5, 4)}, "two owners"},
		{"a lower token later", []Event{ask("a", 1), got("a", 5, 2), ask("b", 3), got("b", 4, 4)}, "two owners"},
		{"an act of nobody", []Event{act(3, 1, 2)}, "two owners"},
	})
}

func TestTokens(t *testing.T) {
	effect := func(token uint64) Event { return Event{Op: Effect, ID: "x", To: NameList + "n", N: token} }
	check(t, Tokens, []planted{
		{"rising", []Event{effect(3), effect(3), effect(8), {Op: Late, Step: Refused, To: "n", N: 3}}, ""},
		{"of two names", []Event{effect(8), {Op: Effect, ID: "x", To: NameList + "m", N: 3}}, ""},
		{"a replaced owner had an effect", []Event{effect(3), effect(8), effect(3)}, "token 3 behind one of 8"},
	})
}

func TestLimits(t *testing.T) {
	ask := Event{Op: Command, Step: Invoke, ID: "a", At: 1 * sec}
	bounded := func(all []Event) Result { return Bounded(all, 6*time.Second) }
	check(t, bounded, []planted{
		{"in time", []Event{ask, {Op: Command, Step: Unknown, ID: "a", At: 7 * sec}}, ""},
		{"each attempt in time", []Event{ask, {Op: Command, Step: Unknown, ID: "a", At: 6 * sec}, {Op: Command, Step: Invoke, ID: "a", At: 7 * sec}, {Op: Command, Step: OK, ID: "a", At: 9 * sec}}, ""},
		{"too long", []Event{ask, {Op: Command, Step: Unknown, ID: "a", At: 8 * sec}}, "took 7s"},
		{"for ever", []Event{ask}, "did not end"},
	})
	memory := func(all []Event) Result { return MemoryBelow(all, 100<<20) }
	check(t, memory, []planted{
		{"small", []Event{{Op: Memory, To: "w1", N: 90 << 20}}, ""},
		{"one is large", []Event{{Op: Memory, To: "w1", N: 90 << 20}, {Op: Memory, To: "w2", N: 200 << 20}}, "w2 held 200 MiB"},
	})
	recovered := func(all []Event) Result { return Recovered(all, 15*time.Second) }
	check(t, recovered, []planted{
		{"soon", []Event{{Op: Members, To: "w1", N: uint64(3 * sec)}}, ""},
		{"late", []Event{{Op: Members, To: "w1", N: uint64(20 * sec), Err: "kill"}}, "after kill of w1 it took 20s"},
	})
}

func TestServed(t *testing.T) {
	fault := func(k Kind, s Step, at int64) Event {
		return Event{Op: Fault, Step: s, Err: string(k), To: "w1", At: at * sec}
	}
	met := func(op Op, s Step, at int64) Event {
		return Event{Op: op, Step: s, To: "w1", From: at*sec - 1, At: at * sec, Err: "EOF"}
	}
	began, ended, after := fault(Files, Began, 10), fault(Files, Ended, 20), Event{Op: Memory, At: 100 * sec}
	served := func(all []Event) Result { return Served(all, 15*time.Second) }
	check(t, served, []planted{
		{"refused meanwhile, served later", []Event{began, met(Kept, OK, 11), met(Connect, Unknown, 12), ended, met(Connect, OK, 21), after}, ""},
		{"refused by one that was killed", []Event{fault(Kill, Began, 10), met(Connect, Unknown, 12), met(Kept, Unknown, 12), fault(Kill, Ended, 20), met(Connect, OK, 21), after}, ""},
		{"one that the fault met on its way", []Event{began, {Op: Kept, Step: Unknown, To: "w1", From: 9 * sec, At: 11 * sec}, met(Connect, Unknown, 12), ended, met(Connect, OK, 21), after}, ""},
		{"the run ends before it had the time", []Event{met(Connect, OK, 9), fault(Kill, Began, 10), fault(Kill, Ended, 20)}, ""},
		{"a connection from before ends", []Event{began, met(Connect, Unknown, 11), met(Kept, Unknown, 12), ended, met(Connect, OK, 21), after}, "from before was not served"},
		{"no connection later", []Event{began, met(Connect, Unknown, 12), ended, after}, "no connection was served"},
		{"much later", []Event{began, met(Connect, Unknown, 12), ended, met(Connect, OK, 40), after}, "took 20s"},
		{"another node is served", []Event{began, met(Connect, Unknown, 12), ended, {Op: Connect, Step: OK, To: "w2", At: 21 * sec}, after}, "no connection was served"},
		{"killed and never served", []Event{fault(Kill, Began, 10), fault(Kill, Ended, 20), met(Connect, Unknown, 21), after}, "behind kill of w1 no connection"},
		{"nothing was refused", []Event{began, met(Connect, OK, 12), ended, met(Connect, OK, 21), after}, "the fault was none"},
	})
}

func TestEnough(t *testing.T) {
	fault := func(s Step) Event { return Event{Op: Fault, Step: s, Err: string(Kill), To: "w1"} }
	enough := func(all []Event) Result { return Enough(all, []Kind{Kill}, map[Op]int{Call: 2}) }
	call := Event{Op: Call, Step: OK}
	check(t, enough, []planted{
		{"enough", []Event{call, fault(Began), call, fault(Ended)}, ""},
		{"no fault", []Event{call, call}, "no kill was injected"},
		{"a fault that was not taken back", []Event{call, call, fault(Began)}, "no kill was injected"},
		{"too little traffic", []Event{call, {Op: Call, Step: Unknown}, fault(Began), fault(Ended)}, "only 1 of call"},
	})
}

// TestFiles: what was written is read, in the order of the times; the line that a process
// could not finish is not; one that cannot be read is an error.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	now := int64(0)
	clock := func() int64 { now++; return now }
	var a, b bytes.Buffer
	la, lb := NewLog("a.1", clock, &a), NewLog("b.1", clock, &b)
	la.Add(Event{Op: Call, Step: Invoke, ID: "1"})
	lb.Add(Event{Op: Call, Step: Ran, ID: "1"})
	la.Add(Event{Op: Call, Step: OK, ID: "1"})
	b.WriteString(`{"at":9,"by":"b.1","op":"ca`)
	write := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.1.jsonl", a.Bytes())
	write("b.1.jsonl", b.Bytes())
	all, err := Read(dir)
	if err != nil || len(all) != 3 || all[0].Step != Invoke || all[1].By != "b.1" || all[2].Step != OK {
		t.Fatal(all, err)
	}
	write("c.1.jsonl", []byte("{\n"))
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "c.1.jsonl") {
		t.Error(err)
	}
}
