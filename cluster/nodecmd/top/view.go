package top

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

// Drawing. The screen is three lines, the rows that fit, and two lines; each line is cut to
// the width of the terminal. Only rows that are seen are drawn, so ten thousand of them
// cost no more than thirty. Texts of other nodes go through clean before they are measured
// or coloured: what a terminal would obey would also break the widths.
//
// Colour is never the only sign: the marked row has a >, what needs attention a !.
var (
	bold   = lipgloss.NewStyle().Bold(true)
	quiet  = lipgloss.NewStyle().Faint(true)
	accent = lipgloss.NewStyle().Foreground(lipgloss.Color("6")).Bold(true)
	alarm  = lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true)
	marked = lipgloss.NewStyle().Reverse(true)
)

const keys = "1-4 list · enter look into · esc back · / filter · s sort · r reverse · p pause · x cancel/close · X abort · ? keys · q quit"

// head and foot are the lines above and below the rows.
const headLines, footLines = 3, 2

// The head is the tabs, the state of the list and the titles of its columns; the foot is
// what was said last, and the keys.
//
// room is how many rows fit.
func (m *model) room() int { return max(m.height-headLines-footLines, 1) }

// View draws the model.
func (m *model) View() tea.View {
	v := tea.NewView(m.draw(time.Now()))
	v.AltScreen, v.WindowTitle = true, "loopmesh top"
	return v
}

// draw is the whole screen as text.
func (m *model) draw(now time.Time) string {
	lines := []string{m.tabs(), m.state(now)}
	switch {
	case m.help:
		for key := range strings.SplitSeq(keys, " · ") {
			lines = append(lines, m.cut("  "+key))
		}
	case m.opened != "":
		lines = append(lines, m.page()...)
	default:
		lines = append(lines, m.table()...)
	}
	for len(lines) < m.height-footLines {
		lines = append(lines, "")
	}
	return strings.Join(append(lines[:min(len(lines), max(m.height-footLines, 1))], m.foot()...), "\n")
}

// tabs names the lists; the one that is looked at stands in brackets.
func (m *model) tabs() string {
	var out []string
	for k := range kinds {
		text := fmt.Sprintf("%d %s", k+1, titles[k])
		if k == m.kind {
			out = append(out, accent.Render("["+text+"]"))
		} else {
			out = append(out, quiet.Render(" "+text+" "))
		}
	}
	return m.cut(strings.Join(out, " "))
}

// state is the line about the list: how many, how old, who is missing.
func (m *model) state(now time.Time) string {
	var out []string
	switch {
	case m.at.IsZero() && m.err == nil:
		out = append(out, "asking…")
	case !m.at.IsZero():
		out = append(out, fmt.Sprintf("%d of %d", len(m.shown()), len(m.rows)))
	}
	if m.filter != "" || m.typing {
		cursor := ""
		if m.typing {
			cursor = "_"
		}
		out = append(out, "filter "+m.clean(m.filter+cursor))
	}
	if m.held {
		out = append(out, alarm.Render("PAUSED"))
	}
	if m.err != nil {
		out = append(out, alarm.Render(fmt.Sprintf("RECONNECTING: %s; what you see is %v old", m.clean(m.err.Error()), now.Sub(m.at).Round(time.Second))))
	}
	if len(m.partial) > 0 {
		out = append(out, alarm.Render(fmt.Sprintf("! %d did not answer in full: %s", len(m.partial), m.clean(m.partial[0].ID))))
	}
	return m.cut(strings.Join(out, " · "))
}

// The first drawn row is kept within the list: rows end while somebody looks at the last
// ones, and an empty screen would look like an empty list.
//
// table is the heading and the rows that fit.
func (m *model) table() []string {
	var head []string
	for i, c := range columns[m.kind] {
		title := c.title
		if m.sorted[m.kind] && m.sortBy[m.kind] == i {
			title += "*"
		}
		head = append(head, pad(title, c))
	}
	lines := []string{bold.Render(m.cut("  " + strings.Join(head, " ")))}
	shown := m.shown()
	at := max(m.index(shown), 0)
	top := max(0, min(m.top, len(shown)-m.room()))
	for i := top; i < min(len(shown), top+m.room()); i++ {
		lines = append(lines, m.line(shown[i], i == at))
	}
	return lines
}

// line is one row. The signs before it are for those who do not see colours: > is the
// marked row, ! one that needs somebody.
func (m *model) line(r row, here bool) string {
	sign := " "
	if here {
		sign = ">"
	}
	if r.warn {
		sign += "!"
	} else {
		sign += " "
	}
	var cells []string
	for i, c := range columns[m.kind] {
		cells = append(cells, pad(m.clean(r.cells[i].text), c))
	}
	text := m.cut(sign + strings.Join(cells, " "))
	switch {
	case here:
		return marked.Render(text)
	case r.warn:
		return alarm.Render(text)
	}
	return text
}

// page is everything about one thing.
func (m *model) page() []string {
	for _, r := range m.rows {
		if r.id != m.opened {
			continue
		}
		lines := []string{bold.Render(m.cut(m.clean(r.id + "  " + r.name)))}
		for i, c := range columns[m.kind] {
			lines = append(lines, m.cut(fmt.Sprintf("  %-12s %s", strings.ToLower(c.title), m.clean(r.cells[i].text))))
		}
		for _, text := range r.more {
			lines = append(lines, m.cut("  "+m.clean(text)))
		}
		for _, call := range r.stack {
			lines = append(lines, m.cut("  at "+m.clean(call)))
		}
		return lines
	}
	return []string{m.cut(m.clean(m.opened) + " has ended")}
}

// foot is the question, what became of the last order, or the keys.
func (m *model) foot() []string {
	said := m.cut(m.clean(m.said))
	if m.said == "" {
		said = ""
	}
	if q := m.question; q != nil {
		said = alarm.Render(m.cut(m.clean(fmt.Sprintf("%s %s (%s)? y does it, any other key does not", q.verb, q.id, q.name))))
	}
	return []string{said, quiet.Render(m.cut(keys))}
}

// pad fits a text into a column.
func pad(text string, c column) string {
	if w := lipgloss.Width(text); w > c.width {
		text = cutTo(text, c.width)
	}
	space := strings.Repeat(" ", max(0, c.width-lipgloss.Width(text)))
	if c.number {
		return space + text
	}
	return text + space
}

// cutTo cuts a plain text to a width, with a sign that something is missing.
func cutTo(text string, width int) string {
	var out strings.Builder
	used := 0
	for _, r := range text {
		w := lipgloss.Width(string(r))
		if used+w > width-1 {
			return out.String() + "…"
		}
		out.WriteRune(r)
		used += w
	}
	return out.String()
}

// A wide letter takes two columns, a mark none: widths are those of the terminal, not the
// numbers of runes, or the columns behind a name in another script would not stand in line.
//
// cut keeps a line, coloured or not, within the screen.
func (m *model) cut(line string) string {
	return lipgloss.NewStyle().MaxWidth(max(m.width, 1)).Render(line)
}
