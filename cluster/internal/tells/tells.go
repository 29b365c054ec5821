// Package tells carries messages of actors between nodes.
package tells

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/credit"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/flows"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/ratelog"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// How a message of an actor travels. Out: Route writes the registered name, the
// payload and the sender's address into a Tell and sends it under the credit of the
// receiver's flow; it never waits, because actors send from their loops. In: Told
// gives the message to the actor's mailbox; the credit comes back when the actor
// takes it from there.
//
// What does not reach its actor is told where somebody waits: the system rejects an
// Ask with the reason; other messages are counted and logged, and the sending node
// hears through the flow that one was refused.

// Addresser fills in the addresses of a frame that nobody answers, or says why it could
// not be delivered. number is the incarnation of the node that it goes to.
type Addresser interface {
	Address(addr actors.Address, f *wire.Frame) (number uint64, err error)
}

// Tells sends and takes messages for one actor system. Any goroutine.
type Tells struct {
	link           *link.Link
	address        Addresser
	out            *flows.Out
	inflows        *flows.In
	system         *actors.System
	log            hclog.Logger
	quiet          ratelog.Line
	sent, received atomic.Uint64
	failures       atomic.Uint64
}

// Counters are what Tells has counted.
type Counters struct{ Out, In, Failed uint64 }

// New makes Tells for sys.
func New(l *link.Link, a Addresser, out *flows.Out, in *flows.In, sys *actors.System, log hclog.Logger) *Tells {
	return &Tells{link: l, address: a, out: out, inflows: in, system: sys, log: log}
}

// Counters reads what was counted.
func (t *Tells) Counters() Counters {
	return Counters{Out: t.sent.Load(), In: t.received.Load(), Failed: t.failures.Load()}
}

// Route sends a message of an actor here to an actor elsewhere (actors.Route).
func (t *Tells) Route(to actors.Address, msg any, sender actors.Ref) error {
	f := &wire.Frame{Kind: wire.Tell}
	if err := write(f, msg); err != nil {
		return err
	}
	if !sender.IsZero() {
		f.Sender = t.system.Export(sender).String()
	}
	number, err := t.address.Address(to, f)
	if err != nil {
		return err
	}
	if free(f) {
		err = t.link.Post(link.Peer{Name: to.Node, Number: number}, f)
	} else {
		err = t.out.TrySend(number, to.Node, f)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	t.sent.Add(1)
	return nil
}

// free reports whether a message takes no credit: those of the actor systems
// themselves, of which there are few, and answers, of which there is one for each
// question. They must not wait behind data.
func free(f *wire.Frame) bool {
	return strings.HasPrefix(f.Function, "$") || strings.HasPrefix(f.Path, replyPath)
}

// Told takes a message of an actor elsewhere. Receiving goroutine.
func (t *Tells) Told(f *wire.Frame) {
	t.received.Add(1)
	flow, err := t.arrived(f)
	if err == nil && flow == nil && !free(f) {
		return // it came twice, or without credit
	}
	cost := credit.Cost(len(f.Payload))
	var taken func() // the credit comes back when the actor takes the message, not before
	if flow != nil {
		taken = func() { flow.Took(credit.Amount{Messages: 1, Bytes: cost}) }
	}
	if err == nil {
		if p := guard.Call(func() { err = t.deliver(f, taken) }); p != nil {
			err = p // a type's own UnmarshalJSON
		}
	}
	if err == nil {
		return
	}
	if flow != nil {
		flow.Refuse(cost, err)
	}
	t.fail(f, err)
}

// arrived notes a message that takes credit. flow is nil with nil when there is
// nothing to give back: a free message, or one to be dropped because it came twice or
// without credit.
func (t *Tells) arrived(f *wire.Frame) (flow *flows.Inflow, err error) {
	switch {
	case free(f):
		return nil, nil
	case f.Flow == 0:
		return nil, fault.Codef(wire.NoCredit, "%w: it was sent without any", fault.ErrNoCredit)
	}
	return t.inflows.Arrived(f), nil
}

// fail counts and logs a message that reached nobody.
func (t *Tells) fail(f *wire.Frame, err error) {
	t.failures.Add(1)
	if ok, more := t.quiet.Allow(); ok {
		t.log.Warn("a message of another node reached nobody", "message", f.Function, "to", f.Path, "from", f.From, "error", err, "kept_back", more)
	}
}

// deliver decodes the message and gives it to the actor system. Errors behind the
// sender's address go to the sender, too (Reject), since an Ask waits for them.
func (t *Tells) deliver(f *wire.Frame, taken func()) error {
	sender, err := senderOf(f)
	if err != nil {
		return err
	}
	msg, err := read(f, sender)
	if err != nil {
		return t.system.Reject(sender, err)
	}
	me := t.link.Self()
	if f.Incarnation != 0 && f.Incarnation != me.Number {
		return t.system.Reject(sender, fault.Codef(wire.DeadIncarnation, "%w: the address means incarnation %d, the node lives as %d", fault.ErrDeadIncarnation, f.Incarnation, me.Number))
	}
	return t.system.Deliver(actors.Address{Node: me.Name, Incarnation: f.Incarnation, Path: f.Path}, msg, sender, taken)
}

// Refuse tells the sender of a message that its node may not send it.
func (t *Tells) Refuse(f *wire.Frame, err error) {
	t.received.Add(1)
	t.failures.Add(1)
	if flow, _ := t.arrived(f); flow != nil {
		flow.Refuse(credit.Cost(len(f.Payload)), err)
	}
	if sender, bad := senderOf(f); bad == nil {
		_ = t.system.Reject(sender, err) // nobody who asks: it is logged here
	}
}

// replyPath begins the paths at which the actor system here waits for answers.
const replyPath = "$reply/"

// NeededRight is the right that a message takes, "" for what every member may send:
// answers, and what the actor systems tell each other. Stopping an actor or a loop
// and signalling a child is for admins, what goes to a connection is a write, and
// any other message is a call of its name.
func NeededRight(name, path string) string {
	switch {
	case name == tellStop, name == "process.signal":
		return "admin"
	case strings.HasPrefix(name, "$"), strings.HasPrefix(path, replyPath):
		return ""
	case strings.HasPrefix(name, "transport."):
		return "write"
	}
	return "call:" + name
}

// senderOf is who sent the message: an actor of the sending node, or, when it
// was forwarded, of a third one.
func senderOf(f *wire.Frame) (actors.Ref, error) {
	if f.Sender == "" {
		return actors.Ref{}, nil
	}
	a, err := actors.Parse(f.Sender)
	if err != nil {
		return actors.Ref{}, err
	}
	if !wire.ValidName(a.Node) || a.Incarnation == 0 {
		return actors.Ref{}, fault.Codef(wire.Refused, "%w: %q is no sender on a node", fault.ErrRefused, f.Sender)
	}
	return actors.RefOf(a), nil
}

// The messages of the actor system itself. Names are part of the wire format.
const (
	tellStop     = "$stop"
	tellRefusal  = "$refusal"
	tellWithdraw = "$withdraw"
)

// write puts a message into a frame. Three messages belong to the actor systems
// themselves and need no registration; their names begin with $, which no registered
// name may.
func write(f *wire.Frame, msg any) (err error) {
	switch m := msg.(type) {
	case actors.StopRequest:
		f.Function = tellStop
	case actors.WithdrawRequest:
		f.Function = tellWithdraw
	case actors.Refusal:
		f.Function = tellRefusal
		fault.Describe(f, m.Err)
	default:
		kind := registry.MessageOf(msg)
		if kind == nil {
			return fmt.Errorf("%w: %T: register it with cluster.RegisterMessage on both nodes", fault.ErrUnknownMessage, msg)
		}
		f.Function = kind.Name
		f.Codec, f.Payload, err = kind.Encode(msg)
	}
	return err
}

// read takes a message out of a frame. sender is who sent it.
func read(f *wire.Frame, sender actors.Ref) (any, error) {
	switch f.Function {
	case tellStop:
		return actors.StopRequest{}, nil
	case tellWithdraw:
		return actors.WithdrawRequest{}, nil
	case tellRefusal:
		return actors.Refusal{Err: fault.FromFrame(f.From, "", f)}, nil
	}
	kind := registry.MessageNamed(f.Function)
	if kind == nil {
		return nil, fault.Codef(wire.UnknownMessage, "%w: the program here registers no message %q", fault.ErrUnknownMessage, f.Function)
	}
	return kind.Decode(f.Codec, f.Payload)
}
