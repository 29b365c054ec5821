package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/internal/registry"
)

var bytesBack = Func("test.bytesBack", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })

func TestCallsByName(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	// Both ways: over NATS, and on a loop of the calling node itself.
	for _, n := range nodes {
		ref := refTo(t, n, "n2/io-0")
		for _, c := range []struct{ name, in, out string }{
			{add.Name(), `{"A":1,"B":2}`, `3`},
			{where.Name(), ``, `"n2/io-0"`},
			{bytesBack.Name(), `"aGVsbG8="`, `"aGVsbG8="`},
		} {
			got, err := n.CallJSON(testCtx(t), ref, c.name, json.RawMessage(c.in))
			if err != nil || string(got) != c.out {
				t.Errorf("%s from %s: got %s, %v", c.name, n.Name(), got, err)
			}
		}
		_, err := n.CallJSON(testCtx(t), ref, "test.nobody", nil)
		wantIs(t, err, ErrUnknownFunction)
		if !strings.Contains(err.Error(), "test.nobody") {
			t.Errorf("%v does not name the function", err)
		}
		_, err = n.CallJSON(testCtx(t), ref, add.Name(), json.RawMessage(`{`))
		wantIs(t, err, ErrBadPayload)
		_, err = n.CallJSON(testCtx(t), ref, add.Name(), json.RawMessage(`"text"`))
		wantIs(t, err, ErrBadPayload)
	}
}

func TestFunctionsDescribeThemselves(t *testing.T) {
	all := registry.Functions()
	if !slices.IsSortedFunc(all, func(a, b *registry.Entry) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not in order")
	}
	if !slices.ContainsFunc(all, func(e *registry.Entry) bool {
		return e.Name == "test.bytesBack" && e.In == "[]uint8" && e.Out == "[]uint8"
	}) {
		t.Error("test.bytesBack is not described: ", len(all))
	}
}

var nodeName = Func("test.nodeName", func(ctx context.Context, _ struct{}) (string, error) {
	n, ok := NodeOf(ctx)
	if !ok {
		return "", errors.New("no node in the ctx of a called function")
	}
	return n.Name(), nil
})

func TestACalledFunctionKnowsItsNode(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	for _, n := range nodes {
		if got, err := nodeName.Via(n).Call(testCtx(t), refTo(t, n, "n2/io-0"), struct{}{}); got != "n2" || err != nil {
			t.Errorf("from %s: got %q, %v", n.Name(), got, err)
		}
	}
	if _, ok := NodeOf(context.Background()); ok {
		t.Error("a plain ctx has a node")
	}
}
