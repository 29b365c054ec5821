package top

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// village answers from what the test wrote down, and notes orders.
type village struct {
	nodes  []admin.Node
	loops  []admin.Loop
	tasks  []admin.Task
	conns  []admin.Conn
	missed []admin.Missing
	err    error
	orders []string
}

func (v *village) Nodes(context.Context) (*admin.List[admin.Node], error) {
	return &admin.List[admin.Node]{Items: v.nodes, Partial: v.missed}, v.err
}

func (v *village) MeasuredLoops(context.Context, time.Duration) (*admin.List[admin.Loop], error) {
	return &admin.List[admin.Loop]{Items: v.loops}, v.err
}

func (v *village) Tasks(context.Context, int) (*admin.List[admin.Task], error) {
	return &admin.List[admin.Task]{Items: v.tasks}, v.err
}

func (v *village) Conns(context.Context) (*admin.List[admin.Conn], error) {
	return &admin.List[admin.Conn]{Items: v.conns}, v.err
}

func (v *village) CancelTask(_ context.Context, id, reason string) (*admin.Done, error) {
	v.orders = append(v.orders, "cancel "+id+" "+reason)
	return &admin.Done{ID: id}, v.err
}

func (v *village) CloseConn(_ context.Context, id string, abort bool, _ string) (*admin.Done, error) {
	verb := "close "
	if abort {
		verb = "abort "
	}
	v.orders = append(v.orders, verb+id)
	return &admin.Done{ID: id}, v.err
}

func us(d time.Duration) *int64 { v := d.Microseconds(); return &v }

func newVillage() *village {
	return &village{
		nodes: []admin.Node{
			{ID: "n1", State: admin.Ready, Self: true, Loops: 2, Tasks: 3},
			{ID: "n2", State: admin.Dead, LastSeen: time.Now().Add(-12 * time.Second), Why: "its connection ended"},
		},
		loops: []admin.Loop{
			{ID: "n1/io-0", State: admin.Running, Tasks: 3, Measured: &admin.Measured{Busy: 0.42, LagP99US: 1200}},
			{ID: "n1/io-1", State: admin.Blocked, BlockedMS: 2100, Frame: "main.render(render.go:88)"},
		},
		tasks: []admin.Task{
			{ID: "n1/io-0/tasks/1", Name: "quick", State: "waiting", Waits: "loopnode.Sleep", WaitsUS: us(3 * time.Millisecond), Stack: []string{"main.quick(/src/quick.go:7)", "main.main(/src/main.go:1)"}},
			{ID: "n1/io-0/tasks/2", Name: "slow", State: "waiting", WaitsUS: us(4 * time.Second), Circle: true},
			{ID: "n1/io-1/tasks/9", Name: "\x1b[2Jevil\u202e", State: "ready"},
		},
		conns: []admin.Conn{{ID: "n1/io-0/transports/4", Peer: "127.0.0.1:5", Reading: true, BytesIn: 2048}},
	}
}

// clean is what nodecmd gives: nothing that steers a terminal passes.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x202e {
			return '?'
		}
		return r
	}, s)
}

// screen drives a model: each key, and the answers to what it asks for.
type screen struct {
	t *testing.T
	m *model
}

func newScreen(t *testing.T, v *village) *screen {
	s := &screen{t, newModel(t.Context(), v, clean)}
	s.give(tea.WindowSizeMsg{Width: 160, Height: 20})
	s.run(s.m.Init())
	return s
}

// give updates the model, and runs what it wants to be run.
func (s *screen) give(msg tea.Msg) {
	_, cmd := s.m.Update(msg)
	if _, waits := msg.(answer); !waits { // behind an answer it waits for the next question
		s.run(cmd)
	}
}

// run runs a command and gives its message.
func (s *screen) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if msg := cmd(); msg != nil {
		if _, ends := msg.(tea.QuitMsg); !ends {
			s.give(msg)
		}
	}
}

// keys presses keys: a name in <> is one key.
func (s *screen) keys(text string) {
	names := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "down": tea.KeyDown, "up": tea.KeyUp, "backspace": tea.KeyBackspace}
	for text != "" {
		if name, rest, ok := strings.Cut(strings.TrimPrefix(text, "<"), ">"); ok && text[0] == '<' {
			s.give(tea.KeyPressMsg{Code: names[name]})
			text = rest
			continue
		}
		s.give(tea.KeyPressMsg{Code: rune(text[0]), Text: text[:1]})
		text = text[1:]
	}
}

// text is the screen without colours.
func (s *screen) text() string {
	var out strings.Builder
	in := false
	for _, r := range s.m.draw(time.Now()) {
		switch {
		case r == '\x1b':
			in = true
		case in && r == 'm':
			in = false
		case !in:
			out.WriteRune(r)
		}
	}
	return out.String()
}

func (s *screen) sees(what string, parts ...string) {
	s.t.Helper()
	text := s.text()
	for _, p := range parts {
		no := strings.HasPrefix(p, "!!")
		if strings.Contains(text, strings.TrimPrefix(p, "!!")) == no {
			s.t.Errorf("%s: %q in\n%s", what, p, text)
		}
	}
	if lines := strings.Split(text, "\n"); len(lines) != s.m.height {
		s.t.Errorf("%s: %d lines on a screen of %d", what, len(lines), s.m.height)
	}
}

func TestTheLists(t *testing.T) {
	v := newVillage()
	v.missed = []admin.Missing{{ID: "n3"}}
	s := newScreen(t, v)
	s.sees("nodes", "[1 nodes]", "n1", "asked", "2 of 2", "dead", "last seen 12s ago its connection ended", "! 1 did not answer in full: n3")
	s.keys("2")
	s.sees("loops", "[2 loops]", "n1/io-0", "42%", "1.2ms", "blocked", "2.1s", "main.render(render.go:88)", "!!did not answer")
	s.keys("3")
	s.sees("tasks", "CIRCLE", "loopnode.Sleep", "4s", "quick.go:7", "?[2Jevil?")
	s.keys("4")
	s.sees("conns", "127.0.0.1:5", "2.0K", "open")
	s.keys("?")
	s.sees("keys", "enter look into", "q quit")
}

// A node that was told to leave is not shown as one that stays.
func TestADrainIsSeen(t *testing.T) {
	v := newVillage()
	v.nodes = []admin.Node{{ID: "n1", State: admin.Ready, Self: true, Draining: true}, {ID: "n2", State: admin.Ready, Draining: true}, {ID: "n3", State: admin.Ready}}
	s := newScreen(t, v)
	s.sees("nodes", "draining", "asked; is being drained", "3 of 3")
	if shown := s.m.shown(); !shown[0].warn || !shown[1].warn || shown[2].warn || shown[1].cells[1].text != "draining" || shown[2].cells[1].text != admin.Ready {
		t.Errorf("%+v", shown)
	}
}

func TestSortFilterPauseAndLookInto(t *testing.T) {
	v := newVillage()
	s := newScreen(t, v)
	s.keys("3ssssss") // the sixth column is AT, the fifth FOR
	s.keys("sssss")
	if by := columns[tasks][s.m.sortBy[tasks]].title; by != "FOR" {
		t.Fatalf("sorted by %s", by)
	}
	if got := s.m.shown()[0].name; got != "slow" {
		t.Errorf("the longest wait is %s", got)
	}
	s.keys("r")
	if got := s.m.shown()[2].name; got != "slow" {
		t.Errorf("reversed: the last is %s", got)
	}
	s.keys("/QUIC")
	s.sees("typing", "filter QUIC_", "1 of 3", "quick", "!!slow")
	s.keys("<backspace><enter>")
	s.sees("filtered", "filter QUI", "1 of 3")
	s.keys("<enter>")
	s.sees("its page", "at main.quick(/src/quick.go:7)", "at main.main(/src/main.go:1)")
	v.tasks = nil
	s.run(s.m.ask())
	s.sees("it ended", "n1/io-0/tasks/1 has ended")
	s.keys("<esc>1")
	s.keys("<enter>")
	s.sees("a node's loops", "[2 loops]", "filter n1/", "n1/io-0")
	s.keys("<down><enter>")
	s.sees("a loop's tasks", "[3 tasks]", "filter n1/io-1/")
	s.keys("<esc>")
	s.sees("back", "[2 loops]", ">!n1/io-1")
	s.keys("<esc>")
	s.sees("and back", "[1 nodes]")
	s.keys("p")
	v.nodes = v.nodes[:1]
	s.run(s.m.ask())
	s.sees("paused", "PAUSED", "2 of 2")
	s.keys("p")
	s.run(s.m.ask())
	s.sees("goes on", "1 of 1", "!!PAUSED")
}

func TestOrdersAskFirst(t *testing.T) {
	v := newVillage()
	s := newScreen(t, v)
	s.keys("3<down>x")
	s.sees("the question", "cancel n1/io-0/tasks/2 (slow)? y does it")
	s.keys("n")
	if len(v.orders) > 0 {
		t.Errorf("no: %q", v.orders)
	}
	s.keys("xy")
	s.sees("done", "cancel n1/io-0/tasks/2: asked for")
	s.keys("4xyXy")
	if got := strings.Join(v.orders, "; "); got != "cancel n1/io-0/tasks/2 by an operator, in top; close n1/io-0/transports/4; abort n1/io-0/transports/4" {
		t.Error(got)
	}
	v.err = errors.New("no right\x1b[2J")
	s.keys("xy")
	s.sees("refused", "close n1/io-0/transports/4: no right?[2J", "RECONNECTING", "127.0.0.1:5")
	v.err = nil
	s.keys("1xXy2xXy")
	if len(v.orders) != 4 {
		t.Errorf("nodes and loops cannot be ended here: %q", v.orders)
	}
}

// A terminal of any size is filled and no line is too long; with ten thousand rows no more
// than the visible ones are drawn.
func TestAnySize(t *testing.T) {
	v := newVillage()
	for i := range 10000 {
		v.tasks = append(v.tasks, admin.Task{ID: "n1/io-0/tasks/" + strings.Repeat("1", 1+i%30), Name: "\u4e16\u754c" + strings.Repeat("x", 40), State: "waiting"})
	}
	s := newScreen(t, v)
	s.keys("3")
	for _, size := range []tea.WindowSizeMsg{{Width: 1, Height: 1}, {Width: 20, Height: 6}, {Width: 80, Height: 24}, {Width: 300, Height: 90}} {
		s.give(size)
		for _, key := range []string{"g", "G", "k", "<up>", "<down>"} {
			s.keys(key)
			for _, line := range strings.Split(s.text(), "\n") {
				if w := len([]rune(line)); w > size.Width {
					t.Fatalf("%+v: a line of %d: %q", size, w, line)
				}
			}
		}
	}
}

// Run leaves when it is told to, and when its ctx ends.
func TestRunEnds(t *testing.T) {
	var out bytes.Buffer
	if err := Run(t.Context(), newVillage(), clean, strings.NewReader("q"), &out, []string{"TERM=xterm"}); err != nil || !strings.Contains(out.String(), "loopmesh top") {
		t.Errorf("%v %q", err, out.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, newVillage(), clean, strings.NewReader(""), &out, nil); err != nil {
		t.Error(err)
	}
}
