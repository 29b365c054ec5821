package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// FunctionInfo describes a registered function for people.
type FunctionInfo struct {
	Name string `json:"name"`
	In   string `json:"in"`  // Go type of the argument
	Out  string `json:"out"` // Go type of the result
}

// Functions are the functions this program registers, by name.
func Functions() []FunctionInfo {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	out := make([]FunctionInfo, 0, len(registry.byName))
	for _, e := range registry.byName {
		out = append(out, FunctionInfo{Name: e.name, In: e.in, Out: e.out})
	}
	slices.SortFunc(out, func(a, b FunctionInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// NodeOf is the node a function was called through, or that Node.Context put
// into ctx.
func NodeOf(ctx context.Context) (*Node, bool) {
	n, ok := ctx.Value(nodeKey{}).(*Node)
	return n, ok
}

// CallJSON is Function.Call for those who know only the name, such as a command
// line: this program need not register the function. in and the result are JSON;
// an empty in is null, and bytes are a string in base64. It waits as Call does,
// also on a loop of this very process. Errors as of Call.
func (n *Node) CallJSON(ctx context.Context, ref loopnode.Ref, name string, in json.RawMessage) (json.RawMessage, error) {
	if len(in) == 0 {
		in = json.RawMessage("null")
	}
	if !json.Valid(in) {
		return nil, fmt.Errorf("%w: the argument of %s is not JSON", ErrBadPayload, name)
	}
	loop, addr, err := locate(n, ref)
	if err != nil {
		return nil, err
	}
	if loop != nil {
		return n.callLocalJSON(ctx, loop, name, in)
	}
	r, err := n.request(ctx, addr, &wire.Frame{Kind: wire.Call, Function: name, Codec: wire.JSON, Payload: in})
	if err != nil {
		return nil, err
	}
	return outcome{r.codec, r.payload}.json()
}

func (n *Node) callLocalJSON(ctx context.Context, loop *loopnode.Loop, name string, in json.RawMessage) (json.RawMessage, error) {
	e := registry.find(name)
	if e == nil {
		return nil, &RemoteError{Target: loop.Name(), Function: name, Message: "this program registers no function of that name", code: wire.UnknownFunction}
	}
	f := &Function[json.RawMessage, outcome]{name: name, fn: func(ctx context.Context, in json.RawMessage) (outcome, error) {
		return e.serve(ctx, wire.JSON, in)
	}}
	out, err := callLocal(ctx, n, loop, f, in)
	if err != nil {
		return nil, err
	}
	return out.json()
}

// json is the result as text, whatever it travelled as.
func (o outcome) json() (json.RawMessage, error) {
	if o.codec == wire.Raw {
		return json.Marshal(o.payload)
	}
	return o.payload, nil
}
