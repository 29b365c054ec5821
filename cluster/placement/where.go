package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/cluster/names"
)

// Two records say where an instance is: its own one says that it is wanted, and the one of
// its name says which node runs it. They are read one after the other and not in one step,
// so what is read is true of a moment each. Whoever acts on it carries the token: the store
// refuses what was decided about an owner that was replaced meanwhile.

// Placement is an instance as Where and List show it.
type Placement struct {
	Kind     string      `json:"kind"`
	Name     string      `json:"name"`
	State    State       `json:"state"`
	Node     string      `json:"node,omitempty"` // that owns its name, and so runs it; "": it does not run
	Loop     string      `json:"loop,omitempty"` // address of the loop on which it runs
	Token    uint64      `json:"token,omitempty"`
	Since    time.Time   `json:"since,omitzero"`     // when that node became its owner, by the clock of that node
	Failures []time.Time `json:"failures,omitempty"` // that count
	Error    string      `json:"error,omitempty"`    // of the last one
}

// of is an instance with its owner, the zero Owner when nobody runs it.
func (w want) of(o names.Owner) Placement {
	return Placement{
		Kind: w.ID.Kind, Name: w.ID.Name, State: w.State, Failures: w.Failures, Error: w.Error,
		Node: o.Node, Loop: o.Loop, Token: o.Token, Since: o.Since,
	}
}

// Where tells where an instance runs now: its node and loop, with the fencing token of that
// ownership and since when. A Placement without a Node is an instance that nobody runs at this
// moment; its State says whether it will be. It asks the store, not that node, so it
// answers while the node stands still, too. Errors: ErrNotWanted, ErrBadName, and those of
// the package.
func Where(ctx context.Context, n *cluster.Node, kind, name string) (Placement, error) {
	i := id{kind, name}
	if ctx == nil || n == nil {
		return Placement{}, fault.Config("placement: Where needs a ctx and a node, not nil")
	}
	if err := i.check(); err != nil {
		return Placement{}, err
	}
	rec, err := wait.Do(ctx, func(ctx context.Context) (records.Record, error) { return storeOf(n).Get(ctx, i.subject()) })
	if err != nil && !errors.Is(err, records.ErrAbsent) {
		return Placement{}, err
	}
	w, ok := readWant(rec)
	if !ok {
		return Placement{}, fmt.Errorf("%w: %s of kind %s", ErrNotWanted, name, kind)
	}
	owner, err := names.Resolve(ctx, n, i.String())
	if err != nil && !errors.Is(err, names.ErrNotClaimed) {
		return Placement{}, err
	}
	return w.of(owner), nil
}

// List lists the instances, by kind and name: what runs where, what waits for a node, what
// has finished within the last hour, and what has failed. Errors: those of the package.
func List(ctx context.Context, n *cluster.Node) ([]Placement, error) {
	if ctx == nil || n == nil {
		return nil, fault.Config("placement: List needs a ctx and a node, not nil")
	}
	owned, err := names.List(ctx, n)
	if err != nil {
		return nil, err
	}
	list, err := wait.Do(ctx, func(ctx context.Context) ([]records.Record, error) { return storeOf(n).List(ctx, prefix+">") })
	if err != nil {
		return nil, err
	}
	owners := make(map[string]names.Owner, len(owned))
	for _, o := range owned {
		owners[o.Name] = o
	}
	var out []Placement
	for _, rec := range list {
		if w, ok := readWant(rec); ok {
			out = append(out, w.of(owners[w.ID.String()]))
		}
	}
	slices.SortFunc(out, func(a, b Placement) int { return strings.Compare(a.Kind+"/"+a.Name, b.Kind+"/"+b.Name) })
	return out, nil
}
