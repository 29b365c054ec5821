package top

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// How the screen stays true. Three kinds of messages change it. A key changes what is
// looked at: the list, the filter, the order, the marked row. An answer changes the rows.
// An order that has ended changes the line below. Nothing else does, so that what stands
// on the screen follows from the messages alone, in their order.
//
// Each question has a number, and only the answer to the newest one counts. Why: a person
// who changes the list twice within a second has three questions under way, whose answers
// may come in any order; the rows of one list below the head of another would be a lie.
// The same number ends the chain of ticks of the list that was left.
//
// The marked row is known by its id and not by its place: a task that ends above it moves
// it up, and "x" must still mean the task that the person has read. When it has ended, the
// first row is marked, and the question names it before anything happens.
//
// model is what is shown. Invariant: at most one question is under way for the list that
// is looked at (asked); an answer to an older one is thrown away.
type model struct {
	ctx   context.Context
	from  Source
	clean func(string) string

	kind    kind
	asked   int // number of the newest question
	rows    []row
	partial []admin.Missing
	err     error
	at      time.Time // of rows
	held    bool      // paused

	filter   string
	typing   bool // keys go to the filter
	sortBy   [kinds]int
	sorted   [kinds]bool
	upwards  [kinds]bool
	chosen   string // id of the row that is marked
	top      int    // first row that is drawn
	opened   string // id of the thing whose page is shown
	question *order // what waits for yes or no
	said     string // about the last order
	help     bool
	path     []place // where Esc goes back to

	width, height int
}

// place is a list and its filter, to go back to.
type place struct {
	kind   kind
	filter string
	chosen string
}

// order is something that ends a thing.
type order struct {
	verb, id, name string
	do             func(context.Context) error
}

// answer is what a question brought.
type answer struct {
	number  int
	kind    kind
	rows    []row
	partial []admin.Missing
	err     error
	at      time.Time
}

// tick says that it is time to ask again; of another question than the newest it is old.
type tick int

// done is how an order ended.
type done struct {
	order order
	err   error
}

// newModel starts with the nodes, on a screen of the usual size until the terminal tells
// its own.
func newModel(ctx context.Context, from Source, clean func(string) string) *model {
	return &model{ctx: ctx, from: from, clean: clean, width: 80, height: 24}
}

// What a key does depends only on the model, and what it asks for runs elsewhere: no key
// waits for the node, so the screen can be left while the node does not answer.
//
// Init asks for the first list.
func (m *model) Init() tea.Cmd { return m.ask() }

// ask puts a question for the list that is looked at.
func (m *model) ask() tea.Cmd {
	m.asked++
	number, k := m.asked, m.kind
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, limit)
		defer cancel()
		rows, partial, err := list(ctx, m.from, k)
		return answer{number, k, rows, partial, err, time.Now()}
	}
}

// Update changes the model by one message, and says what to do next.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case answer:
		if msg.number != m.asked {
			return m, nil
		}
		m.take(msg)
		return m, m.later(tick(msg.number))
	case tick:
		if int(msg) == m.asked {
			return m, m.ask()
		}
	case done:
		m.said = msg.order.verb + " " + msg.order.id + ": asked for"
		if msg.err != nil {
			m.said = msg.order.verb + " " + msg.order.id + ": " + msg.err.Error()
		}
		return m, m.ask()
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// later gives the tick after a while. Why not tea.Tick: its goroutine stays for a second
// after the view was left, and this one ends with it.
func (m *model) later(t tick) tea.Cmd {
	return func() tea.Msg {
		wait := time.NewTimer(every)
		defer wait.Stop()
		select {
		case <-wait.C:
			return t
		case <-m.ctx.Done():
			return nil
		}
	}
}

// Why a failure does not empty the screen: the last thing that was seen before a node
// became silent is often why it did. The line above the list says how old it is.
//
// take keeps an answer. A failed one leaves the rows that there are, which are shown as
// old; while paused nothing changes.
func (m *model) take(a answer) {
	m.err = a.err
	if a.err == nil && !m.held {
		m.rows, m.partial, m.at = a.rows, a.partial, a.at
	}
}

// Which part of the screen hears a key is decided by what is open: a question takes the
// next key whatever it is, so that no slip of a finger says yes; the filter takes letters
// that are orders elsewhere.
//
// key handles one key: for the question, for the filter, or for the list.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	switch {
	case k.String() == "ctrl+c":
		return tea.Quit
	case m.question != nil:
		return m.answerKey(k.String())
	case m.typing:
		m.filterKey(k)
		return nil
	}
	return m.listKey(k.String())
}

// answerKey: only y says yes.
func (m *model) answerKey(key string) tea.Cmd {
	o := *m.question
	m.question = nil
	if key != "y" {
		m.said = ""
		return nil
	}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, limit)
		defer cancel()
		return done{o, o.do(ctx)}
	}
}

// filterKey changes the filter with each letter, so that the list answers while somebody
// types: most filters are done after three letters. Enter keeps it, Esc takes it out.
func (m *model) filterKey(k tea.KeyPressMsg) {
	switch key := k.String(); key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	default:
		m.filter += k.Text
	}
	m.top = 0
}

// listKey handles a key of the list.
func (m *model) listKey(key string) tea.Cmd {
	switch key {
	case "q":
		return tea.Quit
	case "1", "2", "3", "4":
		return m.look(kind(key[0]-'1'), "")
	case "tab":
		return m.look((m.kind+1)%kinds, "")
	case "?":
		m.help = !m.help
	case "/":
		m.typing = true
	case "p", "space":
		m.held = !m.held
	case "s":
		m.sortBy[m.kind], m.sorted[m.kind] = (m.sortBy[m.kind]+b2i(m.sorted[m.kind]))%len(columns[m.kind]), true
	case "r":
		m.upwards[m.kind] = !m.upwards[m.kind]
	case "x":
		m.end(false)
	case "X":
		m.end(true)
	case "enter":
		return m.open()
	case "esc", "backspace":
		return m.back()
	default:
		m.move(key)
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// move marks another row.
func (m *model) move(key string) {
	page := max(m.room()-1, 1)
	by, known := map[string]int{"j": 1, "down": 1, "k": -1, "up": -1, "pgdown": page, "pgup": -page, "g": -1 << 30, "home": -1 << 30, "G": 1 << 30, "end": 1 << 30}[key]
	shown := m.shown()
	if !known || len(shown) == 0 {
		return
	}
	at := max(0, min(len(shown)-1, max(m.index(shown), 0)+by))
	m.chosen = shown[at].id
	m.top = max(min(m.top, at), at-m.room()+1)
}

// The way back is a list of places, as a browser has it: from the tasks of a loop to the
// loops of a node to the nodes. A place is a list, its filter and the marked row; the rows
// themselves are asked for anew.
//
// look changes the list, and remembers where it was.
func (m *model) look(k kind, filter string) tea.Cmd {
	m.path = append(m.path, place{m.kind, m.filter, m.chosen})
	return m.goTo(place{kind: k, filter: filter})
}

// goTo shows a list. Its rows are asked for; until they come the screen says so, and does
// not show those of another list under its heading.
func (m *model) goTo(p place) tea.Cmd {
	if p.kind != m.kind {
		m.rows, m.partial, m.at = nil, nil, time.Time{}
	}
	m.kind, m.filter, m.chosen, m.top, m.opened, m.held, m.err = p.kind, p.filter, p.chosen, 0, "", false, nil
	return m.ask()
}

// back closes what is open, else goes where the view was before.
func (m *model) back() tea.Cmd {
	switch {
	case m.help:
		m.help = false
	case m.opened != "":
		m.opened = ""
	case len(m.path) > 0:
		p := m.path[len(m.path)-1]
		m.path = m.path[:len(m.path)-1]
		return m.goTo(p)
	default:
		m.filter = ""
	}
	return nil
}

// Enter goes down one step: the cluster has nodes, a node has loops, a loop has tasks, a
// task has a stack. Connections stand beside: their page has the marks of their buffers.
//
// open looks into the marked row: a node's loops, a loop's tasks, the page of a task or a
// connection.
func (m *model) open() tea.Cmd {
	r, ok := m.marked()
	if !ok || m.opened != "" {
		return nil
	}
	switch m.kind {
	case nodes:
		return m.look(loops, r.id+"/")
	case loops:
		return m.look(tasks, r.id+"/")
	}
	m.opened = r.id
	return nil
}

// Nodes and loops cannot be ended from here. Stopping a node is a matter of its process and
// of what else runs in it; a loop belongs to its program. Nothing is bound to one key: each
// order is a question that names what it is about, and only y says yes.
//
// end asks whether to end the marked thing. hard: a connection at once, without what was
// written.
func (m *model) end(hard bool) {
	r, ok := m.marked()
	if !ok {
		return
	}
	switch {
	case m.kind == tasks && !hard:
		m.question = &order{"cancel", r.id, r.name, func(ctx context.Context) error {
			_, err := m.from.CancelTask(ctx, r.id, "by an operator, in top")
			return err
		}}
	case m.kind == conns:
		verb := "close"
		if hard {
			verb = "abort"
		}
		m.question = &order{verb, r.id, r.name, func(ctx context.Context) error {
			_, err := m.from.CloseConn(ctx, r.id, hard, "by an operator, in top")
			return err
		}}
	}
}

// Rows keep the order in which the node gives them (by age and number) until a person
// sorts: a list that sorts itself by a number that changes each second cannot be read.
//
// shown are the rows that the filter lets through, in order.
func (m *model) shown() []row {
	words := strings.Fields(strings.ToLower(m.filter))
	out := slices.DeleteFunc(slices.Clone(m.rows), func(r row) bool { return !fits(r, words) })
	if !m.sorted[m.kind] {
		return out
	}
	by := m.sortBy[m.kind]
	numbers := columns[m.kind][by].number
	slices.SortStableFunc(out, func(a, b row) int {
		order := strings.Compare(a.cells[by].text, b.cells[by].text)
		if numbers {
			order = cmp.Compare(b.cells[by].value, a.cells[by].value)
		}
		if m.upwards[m.kind] {
			return -order
		}
		return order
	})
	return out
}

// fits reports whether a row has all words.
func fits(r row, words []string) bool {
	for _, w := range words {
		if !slices.ContainsFunc(r.cells, func(c cell) bool { return strings.Contains(strings.ToLower(c.text), w) }) {
			return false
		}
	}
	return true
}

// index is where the marked row is; -1 when it is not there.
func (m *model) index(shown []row) int {
	return slices.IndexFunc(shown, func(r row) bool { return r.id == m.chosen })
}

// marked is the marked row, the first one when none is.
func (m *model) marked() (row, bool) {
	shown := m.shown()
	if len(shown) == 0 {
		return row{}, false
	}
	return shown[max(m.index(shown), 0)], true
}
