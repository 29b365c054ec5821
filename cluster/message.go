package cluster

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/transportactors"
)

// messageType is a registered type of message.
type messageType struct {
	name   string
	encode func(msg any) (wire.Codec, []byte, error)
	decode func(wire.Codec, []byte) (any, error)
}

// messages are the types of message that cross nodes, by name and by type.
var messages = messageTable{byName: map[string]*messageType{}, byType: map[reflect.Type]*messageType{}}

type messageTable struct {
	mu     sync.RWMutex
	byName map[string]*messageType
	byType map[reflect.Type]*messageType
}

// Message lets actors of different nodes send each other values of type T. Both
// programs register it under the same name, usually once per package:
//
//	var _ = cluster.Message[Tick]("clock.tick")
//
// T travels as JSON, []byte as it is; a value that is to arrive as a pointer is
// registered as a pointer. It panics when the name or the type is taken, like
// http.Handle. What it returns means nothing.
func Message[T any](name string) struct{} {
	m := &messageType{
		name:   name,
		encode: func(msg any) (wire.Codec, []byte, error) { return encode(msg.(T)) },
		decode: func(c wire.Codec, b []byte) (any, error) { return decode[T](c, b) },
	}
	messages.add(m, reflect.TypeFor[T]())
	return struct{}{}
}

func (t *messageTable) add(m *messageType, of reflect.Type) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case m.name == "" || m.name[0] == '$' || len(m.name) > wire.MaxName:
		panic(fmt.Sprintf("cluster: Message[%v](%q): needs a name of 1 to %d bytes that does not begin with $", of, m.name, wire.MaxName))
	case t.byName[m.name] != nil:
		panic(fmt.Sprintf("cluster: a message named %q is registered already; choose another name", m.name))
	case t.byType[of] != nil:
		panic(fmt.Sprintf("cluster: messages of type %v are registered already, as %q", of, t.byType[of].name))
	}
	t.byName[m.name], t.byType[of] = m, m
}

func (t *messageTable) named(name string) *messageType {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byName[name]
}

func (t *messageTable) of(msg any) *messageType {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byType[reflect.TypeOf(msg)]
}

// What the actors of transports and children understand, on any node.
var (
	_ = Message[transportactors.SignalRequest]("process.signal")
	_ = Message[transportactors.WriteRequest]("transport.write")
	_ = Message[transportactors.CloseRequest]("transport.close")
	_ = Message[transportactors.AbortRequest]("transport.abort")
	_ = Message[transportactors.Accepted]("transport.accepted")
)

// The messages of the actor system itself. Names are part of the wire format.
const (
	tellWatch   = "$watch"
	tellUnwatch = "$unwatch"
	tellStop    = "$stop"
	tellEnd     = "$terminated"
	tellRefusal = "$refusal"
)

// write puts a message into a frame.
func (t *messageTable) write(f *wire.Frame, msg any) (err error) {
	switch m := msg.(type) {
	case actors.WatchRequest:
		f.Function = tellWatch
	case actors.UnwatchRequest:
		f.Function = tellUnwatch
	case actors.StopRequest:
		f.Function = tellStop
	case actors.Terminated:
		f.Function = tellEnd
		describe(f, m.Reason)
	case actors.Refusal:
		f.Function = tellRefusal
		describe(f, m.Err)
	default:
		kind := t.of(msg)
		if kind == nil {
			return fmt.Errorf("%w: %T: register it with cluster.Message on both nodes", ErrUnknownMessage, msg)
		}
		f.Function = kind.name
		f.Codec, f.Payload, err = kind.encode(msg)
	}
	return err
}

// read takes a message out of a frame. sender is who sent it.
func (t *messageTable) read(f *wire.Frame, sender actors.Ref) (any, error) {
	switch f.Function {
	case tellWatch:
		return actors.WatchRequest{}, nil
	case tellUnwatch:
		return actors.UnwatchRequest{}, nil
	case tellStop:
		return actors.StopRequest{}, nil
	case tellEnd:
		return actors.Terminated{Who: sender, Reason: remoteError(sender.String(), "", f)}, nil
	case tellRefusal:
		return actors.Refusal{Err: remoteError(f.From, "", f)}, nil
	}
	kind := t.named(f.Function)
	if kind == nil {
		return nil, codef(wire.UnknownMessage, "%w: the program here registers no message %q", ErrUnknownMessage, f.Function)
	}
	return kind.decode(f.Codec, f.Payload)
}
