package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/loopnode"
)

// A node reads its configuration again. Which keys there are, and which of them can change
// while it runs, only its program knows; here is how it is asked from anywhere, and that the
// outcome is an event, whoever asked: an order of the API, or a signal to the process.
//
// Invariant: what the program refuses has changed nothing. So a person may order it, read the
// error, and still has the node of before.

// Reload is what a node has made of its configuration, read again. Changes are the keys that
// say something else than what the node runs with; none: nothing is new.
type Reload struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	// The node.
	ID      string   `json:"id"`
	Changes []Change `json:"changes"`
}

// Change is a key of the configuration that is another one than before.
type Change struct {
	Key string `json:"key"`
	// What the node ran with, and what stands there now; without secrets.
	Was   string `json:"was"`
	Value string `json:"value"`
	// It holds from now on. False: the node has to be started anew for it.
	Applied bool `json:"applied"`
	// What the values do not show: a file that is named has another content.
	Note string `json:"note,omitempty"`
}

// OnReload gives the server what reads the configuration of the program again and applies
// what it can. fn changes nothing when it returns an error; it is called on a goroutine that
// may wait, never twice at a time when it takes care of that itself. Call it before Listen.
func (s *Server) OnReload(fn func(ctx context.Context) ([]Change, error)) { s.reload.Store(&fn) }

// Reload does what a reload by the API does: it reads the configuration of the program again,
// and leaves an event. It waits for the files. Any goroutine but a loop's. Errors: those of
// OnReload's function, with kind BadRequest unless they have one; kind NotFound when the
// program has given none. After an error nothing has changed.
func (s *Server) Reload(ctx context.Context) (*Reload, error) {
	fn := s.reload.Load()
	if fn == nil {
		return nil, &Error{Kind: NotFound, Message: "the program of node " + s.node.Name() + " has no configuration that can be read again", Hint: "start it anew; a program of its own calls Server.OnReload"}
	}
	changes, err := (*fn)(ctx)
	if err != nil {
		s.note(Event{Code: codeReloadRefused, Subject: s.node.Name(), Text: "the configuration was read again and not taken; nothing has changed", Why: firstLine(err.Error())})
		return nil, err
	}
	s.note(Event{Code: codeReloaded, Subject: s.node.Name(), Text: "the configuration was read again: " + Summary(changes)})
	return &Reload{Kind: "Reload", APIVersion: APIVersion, ID: s.node.Name(), Changes: append([]Change{}, changes...)}, nil
}

// Summary says in one line which keys hold now and which need a start.
func Summary(changes []Change) string {
	var now, later []string
	for _, c := range changes {
		if c.Applied {
			now = append(now, c.Key)
		} else {
			later = append(later, c.Key)
		}
	}
	var parts []string
	if len(now) > 0 {
		parts = append(parts, "applied "+strings.Join(now, ", "))
	}
	if len(later) > 0 {
		parts = append(parts, "needs a restart for "+strings.Join(later, ", "))
	}
	if len(parts) == 0 {
		return "nothing is new"
	}
	return strings.Join(parts, "; ")
}

// firstLine is a text up to its first line break: an event is one line.
func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// reloadAnswer is what the order answers. What a person can do something about travels as a
// value: as an error of a function it would lose its kind and its code.
type reloadAnswer struct {
	Reload *Reload `json:"reload"`
	Wrong  *Error  `json:"wrong"`
}

// orderReload runs on the loop LoopName, and reads files on a thread.
var orderReload = cluster.Func(registry.OrderPrefix+"reload", func(ctx context.Context, _ struct{}) (a reloadAnswer, err error) {
	s, _, err := mineOf(ctx)
	if err != nil {
		return a, err
	}
	a.Reload, err = loopnode.ToThread(ctx, s.Reload)
	if err != nil && ctx.Err() == nil {
		a.Wrong, err = asError(err), nil
	}
	return a, err
})

// An answer of nothing comes from a node of another program that has a function of this name; it
// must not look like a reload that found nothing new.
//
// reloadRoute is the route of one node.
func (s *Server) reloadRoute(ctx context.Context, r *http.Request) (any, error) {
	id, a, err := onNode(ctx, s, r, orderReload, struct{}{})
	switch {
	case err != nil:
		return nil, err
	case a.Wrong != nil:
		return nil, a.Wrong
	case a.Reload == nil:
		return nil, fmt.Errorf("node %s answers nothing", id)
	}
	return a.Reload, nil
}

// Reload has a node read its configuration again.
func (c *Client) Reload(ctx context.Context, node string) (*Reload, error) {
	return send[Reload](ctx, c, http.MethodPost, "nodes/reload", url.Values{"id": {node}}, nil)
}
