package conformance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// departure is a line of a recorded trace that is not what loopmesh does.
type departure struct {
	from, to string
	python   [2]int // the CPython version that does it our way; zero: none
	why      string
}

// departures of the golden programs. What stands here must be wanted: the
// behaviour is in differences.md, or a newer CPython than the recording's is
// the reference.
var departures = map[string][]departure{
	"g09_price": {{
		from: "wait_for 3", to: "wait_for 0", python: [2]int{3, 12},
		why: "since 3.12 wait_for is a time limit around an ordinary await (TSK-04)",
	}},
	"g12_shield": {{
		from: "reports: 0", to: "reports: 1", python: [2]int{3, 14},
		why: "since 3.14 a failure that nobody hears behind a shield is reported (AWT-11)",
	}},
	"g15_task_group": {{
		from:   "the group fails with group of bad failed, clean-up failed 6\nthe next wait is not cancelled",
		to:     "the group fails with group of bad failed, clean-up failed 6\nthe next wait is cancelled",
		python: [2]int{3, 13},
		why:    "since 3.13 a cancellation of the parent is not lost behind the group's failures (AWT-17)",
	}},
	"g22_server": {{
		from: "server: closed: True", to: "server: closed: False", python: [2]int{3, 12},
		why: "since 3.12 wait_closed waits for the clients of a closed server",
	}},
	"g25_unix": {{
		from: "server: the file stays: True", to: "server: the file stays: False", python: [2]int{3, 13},
		why: "since 3.13 a server removes its own file",
	}},
	"g26_udp": {{
		from: "client: the peer gets 'end' first", to: "client: the peer gets '' first", python: [2]int{3, 13},
		why: "since 3.13 an empty datagram is sent",
	}},
	"g10_equal_timers": {{
		from: "0 2 6 5 11 10 9 8 7 1 3 4", to: "0 1 2 3 4 5 6 7 8 9 10 11",
		why: "equal deadlines are first in, first out here (SCH-15)",
	}},
}

// recorded reads the lines of a trace; lines that begin with # tell where it
// comes from.
func recorded(t *testing.T, program string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("golden", program+".trace"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "#") })
}

// depart puts what is wanted in the place of what was recorded.
func depart(t *testing.T, program string, trace []string, apply func(departure) bool) []string {
	t.Helper()
	for _, d := range departures[program] {
		if !apply(d) {
			continue
		}
		from, to := steps(d.from), steps(d.to)
		at := find(trace, from)
		if at < 0 {
			t.Fatalf("%s: the departure from %q finds no such lines in the recording %q", program, d.from, trace)
		}
		trace = slices.Replace(trace, at, at+len(from), to...)
	}
	return trace
}

// steps gives the lines of a departure, or its row of numbers.
func steps(text string) []string {
	if strings.Trim(text, "0123456789 ") == "" {
		return strings.Fields(text)
	}
	return strings.Split(text, "\n")
}

func find(lines, part []string) int {
	for i := range lines {
		if len(lines)-i >= len(part) && slices.Equal(lines[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}

// TestTracesAreWhole: each program has a trace and each trace a program, the
// recordings are what the departures think they are, and each departure has
// its reason.
func TestTracesAreWhole(t *testing.T) {
	if n := len(programs(t)); n != 29 {
		t.Errorf("%d golden programs, want 29", n)
	}
	for _, program := range programs(t) {
		trace := recorded(t, program)
		if len(trace) < 3 {
			t.Errorf("%s: a trace of %q proves nothing", program, trace)
		}
		wanted := depart(t, program, trace, func(departure) bool { return true })
		if changed := !slices.Equal(recorded(t, program), wanted); changed != (departures[program] != nil) {
			t.Errorf("%s: departures change the trace: %v", program, changed)
		}
	}
	traces, err := filepath.Glob("golden/*.trace")
	if err != nil {
		t.Fatal(err)
	}
	if len(traces) != len(programs(t)) {
		t.Errorf("%d traces for %d programs", len(traces), len(programs(t)))
	}
	for program, ds := range departures {
		for _, d := range ds {
			if d.why == "" {
				t.Errorf("%s departs from %q without a reason", program, d.from)
			}
		}
	}
}

// programs names the golden programs, without their suffix.
func programs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("golden/g[0-9][0-9]_*.py")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".py")
	}
	return files
}
