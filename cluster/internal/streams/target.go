package streams

import (
	"strings"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/transportactors"
)

// Target is what takes the bytes of a stream: a connection of this process, by its
// transportactors.Ref, or something that was expected under a reserved path. The meaning of
// the methods is the Ref's. In calls them on the receiving goroutine, so none of them waits.
type Target interface {
	Feed(p []byte, taken func(error)) error
	WriteEOF(failed func(error)) error
	Close() error
	Abort() error
	Fail(reason error) error
	PauseReading() error
	ResumeReading() error
	OnEnd(ended func(reason error)) (stop func(), err error)
}

// Why expectations. A connection may be written to by every node with the right "write".
// What a process of another node writes, and its stdin, belong to one node each, and that
// node may have no right to write to connections at all. So whoever waits for such a stream
// says so first: under which path it will be opened, and by which node. That node, and
// nobody else, may then open it once, with no other right.

// Reserved begins the paths that are expected and never looked up among the connections.
const Reserved = "$"

// expectation is a stream that one node may open.
type expectation struct {
	from string // node
	to   Target
}

// Expect lets the node from open one stream to t, under a path that begins with Reserved.
// stop takes that back; a stream that was opened goes on. Errors: ErrBusy when too many
// are expected.
func (i *In) Expect(path, from string, t Target) (stop func(), err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case len(i.expected) >= maxIn:
		return nil, fault.Codef(wire.Busy, "%w: %d streams are expected already", fault.ErrBusy, len(i.expected))
	case i.expected[path] != nil:
		return nil, fault.Config("a stream under %q is expected already", path)
	}
	e := &expectation{from, t}
	i.expected[path] = e
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.expected[path] == e {
			delete(i.expected, path)
		}
	}, nil
}

// Expected reports whether a frame needs no right, because this node has asked for its
// stream. Opening one is compared with the expectation, by open. A frame of a stream that
// is over was sent before its writer knew: it is answered so, and changes nothing.
func (i *In) Expected(f *wire.Frame) bool {
	if f.Op == wire.Open {
		return strings.HasPrefix(f.Path, Reserved)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	st := i.byKey[keyOf(f)]
	return st == nil || st.expected
}

// target finds what a stream is opened to. An expectation is used up by it.
func (i *In) target(f *wire.Frame) (t Target, expected bool, err error) {
	me := i.link.Self()
	if !strings.HasPrefix(f.Path, Reserved) {
		ref, ok := transportactors.Lookup(actors.Address{Path: f.Path})
		if !ok {
			return nil, false, fault.Codef(wire.UnknownTarget, "%w: node %s has no connection %q", fault.ErrUnknownTransport, me.Name, f.Path)
		}
		return ref, false, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.expected[f.Path]
	if e == nil || e.from != f.From {
		return nil, true, fault.Codef(wire.UnknownTarget, "%w: node %s expects no stream of node %s under %q", fault.ErrUnknownTransport, me.Name, f.From, f.Path)
	}
	delete(i.expected, f.Path)
	return e.to, true, nil
}

// known reports whether the opening was sent again. Only the first one finds its
// expectation.
func (i *In) known(f *wire.Frame) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.byKey[keyOf(f)] != nil
}
