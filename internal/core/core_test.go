package core

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

var update = flag.Bool("update", false, "write what the scripts print into testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// TestScripts runs testdata/*.txt. A script is blocks of commands, each followed
// by a line of four dashes and what the block prints. Time is virtual.
//
//	soon NAME [: COMMAND; …]        a callback; when it runs it does the commands
//	io NAME [: …]                   a descriptor that becomes ready in the next turn
//	at NAME TIME [: …]              a timer; TIME is a duration since 0, or forever
//	after NAME DURATION [: …]       a timer from now
//	many N PREFIX TIME              N timers PREFIX0 …
//	cancel NAME                     takes a callback or timer back
//	cancelmany N PREFIX             takes N timers back, silently
//	stop                            ends with this turn
//	turn                            prepare, wait, digest, batch
//	busy DURATION                   time goes by
//	resolution DURATION             of the clock
//	state                           prints sizes
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runScript(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Fatalf("the script printed something else (-update accepts it)\n%s", firstDifference(string(text), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < min(len(w), len(g)); i++ {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("want %d lines, got %d", len(w), len(g))
}

// runScript runs every block and returns the script with what it printed.
func runScript(text string) (string, error) {
	var out strings.Builder
	m := &machine{soon: map[string]uint64{}, timers: map[string]*Timer{}}
	for n, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		commands, _, ok := strings.Cut(block, "\n----")
		if !ok && !strings.HasPrefix(block, "#") {
			return "", fmt.Errorf("block %d has no line of dashes", n+1)
		}
		m.out.Reset()
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			if err := m.do(line); err != nil {
				return "", fmt.Errorf("%q: %w", line, err)
			}
		}
		if n > 0 {
			out.WriteString("\n\n")
		}
		out.WriteString(commands)
		if ok {
			out.WriteString("\n----" + strings.TrimRight("\n"+m.out.String(), "\n"))
		}
	}
	return out.String() + "\n", nil
}

// machine is a loop with virtual time.
type machine struct {
	core   Core
	now    int64
	io     []Item
	soon   map[string]uint64
	timers map[string]*Timer
	out    strings.Builder
}

func (m *machine) printf(format string, args ...any) { fmt.Fprintf(&m.out, format+"\n", args...) }

// do runs one command. What follows " : " is done by the callback it makes.
func (m *machine) do(line string) error {
	head, body, _ := strings.Cut(line, " : ")
	word := strings.Fields(head)
	arg := func(i int) string {
		if i < len(word) {
			return word[i]
		}
		return ""
	}
	switch word[0] {
	case "soon":
		m.soon[arg(1)] = m.core.Ready.Push(m.callback(arg(1), body))
	case "io":
		m.io = append(m.io, m.callback(arg(1), body))
	case "at", "after":
		when, err := instant(arg(2))
		if word[0] == "after" {
			when += m.now
		}
		m.arm(arg(1), when, body)
		return err
	case "many", "cancelmany":
		return m.many(word[0], arg(1), arg(2), arg(3))
	case "cancel":
		m.printf("cancel %s: %v", arg(1), m.cancel(arg(1)))
	case "stop":
		m.core.Stop()
	case "turn":
		m.turn()
	case "busy", "resolution":
		d, err := time.ParseDuration(arg(1))
		if word[0] == "busy" {
			m.now += int64(d)
		} else {
			m.core.Resolution = int64(d)
		}
		return err
	case "state":
		m.printf("ready %d, timer slots %d of which cancelled %d", m.core.Ready.Len(), m.core.Timers.Len(), m.core.Timers.cancelled)
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

func instant(text string) (int64, error) {
	if text == "forever" {
		return Forever, nil
	}
	if text == "never-but-one" {
		return math.MaxInt64 - 1, nil
	}
	d, err := time.ParseDuration(text)
	return int64(d), err
}

func (m *machine) callback(name, body string) Item {
	return Item{Run: func() {
		m.printf("  %s", name)
		for command := range strings.SplitSeq(body, ";") {
			if command = strings.TrimSpace(command); command == "" {
				continue
			}
			if err := m.do(command); err != nil {
				m.printf("  %s: %v", command, err)
			}
		}
	}}
}

func (m *machine) arm(name string, when int64, body string) {
	t := m.timers[name]
	if t == nil {
		t = &Timer{}
		m.timers[name] = t
	}
	t.Item = m.callback(name, body)
	m.core.At(t, when)
}

func (m *machine) many(command, count, prefix, when string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	at := int64(0)
	if command == "many" {
		if at, err = instant(when); err != nil {
			return err
		}
	}
	for i := range n {
		name := prefix + strconv.Itoa(i)
		if command == "many" {
			m.arm(name, at, "")
		} else {
			m.cancel(name)
		}
	}
	return nil
}

func (m *machine) cancel(name string) bool {
	if t := m.timers[name]; t != nil {
		return m.core.CancelTimer(t)
	}
	return m.core.Ready.Cancel(m.soon[name])
}

// turn is one turn of a loop whose poller sleeps exactly as long as it is told,
// unless a descriptor is ready.
func (m *machine) turn() {
	wait := m.core.Timeout(m.now)
	switch {
	case wait < 0:
		m.printf("t=%v wait for ever", time.Duration(m.now))
	default:
		m.printf("t=%v wait %v", time.Duration(m.now), wait)
	}
	if len(m.io) == 0 && wait > 0 {
		m.now += int64(wait)
	}
	for _, it := range m.io {
		m.core.Ready.Push(it)
	}
	m.io = nil
	for range m.core.Digest(m.now) {
		if it := m.core.Ready.Pop(); it.Run != nil {
			it.Run()
		}
	}
	m.core.Ready.Shrink()
	if m.core.Stopping() && m.core.TakeStop() {
		m.printf("stopped with %d ready", m.core.Ready.Len())
	}
}

// TestCancelledTimersOfABusyCore: a loop that always has something ready does not
// ask how long it may sleep, so cancelled timers must go without that.
func TestCancelledTimersOfABusyCore(t *testing.T) {
	var c Core
	most := 0
	for range 20_000 {
		c.Ready.Push(Item{Run: func() {}})
		var timer Timer
		c.At(&timer, 1<<40)
		c.CancelTimer(&timer)
		for range c.Digest(0) {
			c.Ready.Pop()
		}
		most = max(most, c.Timers.Len())
	}
	if most > 2*sweepAbove {
		t.Errorf("%d cancelled timers are kept", most)
	}
}
