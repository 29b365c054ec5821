package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster/placement"
)

// Singletons that are kept running (package placement). What is wanted and who owns it are
// in the store, so the node that is asked reads that and asks no other one, as for names: a
// node that stands still is shown with what it owns.

// Placement is a singleton that the cluster keeps running. States: running, waiting (it is
// wanted and no node runs it), finished and failed. Node to Since are of the node that owns it.
type Placement struct {
	// KIND/NAME, each of them written as a part of a URL.
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Running, waiting, finished or failed.
	State string `json:"state"`
	Node  string `json:"node,omitempty"`
	Loop  string `json:"loop,omitempty"`
	Token uint64 `json:"token,omitempty"`
	// By the clock of that node.
	Since time.Time `json:"since,omitzero"`
	// That count against its budget of restarts.
	Failures int `json:"failures"`
	// Of the last one.
	Error string `json:"error,omitempty"`
}

// placementList lists the singletons by kind and name.
func (s *Server) placementList(ctx context.Context, _ *http.Request) (any, error) {
	found, err := placement.List(ctx, s.node)
	if err != nil {
		return nil, err
	}
	list := newList[Placement]("PlacementList")
	for _, p := range found {
		list.Items = append(list.Items, Placement{
			ID: storeID(p.Kind, p.Name), Kind: p.Kind, Name: p.Name, State: placementState(p), Node: p.Node, Loop: p.Loop, Token: p.Token,
			Since: p.Since.UTC(), Failures: len(p.Failures), Error: p.Error,
		})
	}
	return list, nil
}

// placementState tells those that run from those that wait: both are wanted. One that is not
// wanted any more and still has an owner is about to end, and its end is what counts.
func placementState(p placement.Placement) string {
	switch {
	case p.State != placement.Wanted:
		return string(p.State)
	case p.Node == "":
		return "waiting"
	}
	return "running"
}

// placementFunctions are those of package placement: its supervisor calls them, no user
// does. They came with an import of this package, and are no functions of the program.
var placementFunctions = []string{"placement.start", "placement.stop", "placement.list"}

// isInternal reports whether a registered function is one of loopmesh's own.
func isInternal(function string) bool {
	return strings.HasPrefix(function, internalPrefix) || slices.Contains(placementFunctions, function)
}

// Placements lists the singletons that are kept running, by kind and name.
func (c *Client) Placements(ctx context.Context) (*List[Placement], error) {
	return get[List[Placement]](ctx, c, "placements")
}
