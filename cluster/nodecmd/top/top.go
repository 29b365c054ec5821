// Package top is the view of a cluster in a terminal: nodes, loops, tasks and
// connections, asked again each second, with a way to sort, to filter, to look into one
// and to end it.
//
// The model is one value that nothing but Update changes, and Update is given keys and
// answers. So a test drives it without a terminal, and what it draws depends on nothing
// else. Questions to the node run on goroutines of the library and come back as messages.
package top

import (
	"context"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// Source is who is asked: an admin.Client.
type Source interface {
	Nodes(context.Context) (*admin.List[admin.Node], error)
	MeasuredLoops(context.Context, time.Duration) (*admin.List[admin.Loop], error)
	Tasks(ctx context.Context, stack int) (*admin.List[admin.Task], error)
	Conns(context.Context) (*admin.List[admin.Conn], error)
	CancelTask(ctx context.Context, id, reason string) (*admin.Done, error)
	CloseConn(ctx context.Context, id string, abort bool, reason string) (*admin.Done, error)
}

// Why the view asks and is not told: the same question that ls and ps put, at most one of
// them under way, costs the node what a person who types them once a second would, and
// stops when the terminal is closed. A stream would have to be ended by somebody.
//
// Times of the questions: how often a list is asked for, how long an answer may take, and
// how long a loop is measured for it.
const (
	every   = time.Second
	limit   = 5 * time.Second
	measure = 300 * time.Millisecond
)

// The terminal is put back as it was in every case: by the library when the program ends,
// also when it ends by a panic. What it has drawn is on a screen of its own, so that the
// lines before it are there again afterwards.
//
// Run shows the cluster until the person leaves (q, Ctrl-C) or ctx ends, which is no
// error. clean makes a text of others harmless for a terminal. in and out are the
// terminal.
func Run(ctx context.Context, from Source, clean func(string) string, in io.Reader, out io.Writer, env []string) error {
	asking, end := context.WithCancel(ctx) // of what is under way when the person leaves
	defer end()
	p := tea.NewProgram(newModel(asking, from, clean), tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithEnvironment(env), tea.WithoutSignalHandler())
	_, err := p.Run()
	if ctx.Err() != nil {
		return nil
	}
	return err
}
