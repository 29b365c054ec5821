package registry

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

// Types of messages by name and by type. They are registered by package variables,
// before any node exists, and never removed; so a program that starts is complete or
// panics at once, and a lookup needs no care about what is registered later.

// Message is a registered type of message between actors.
type Message struct {
	Name   string
	Encode func(msg any) (wire.Codec, []byte, error)
	Decode func(wire.Codec, []byte) (any, error)
}

var messages = messageTable{byName: map[string]*Message{}, byType: map[reflect.Type]*Message{}}

type messageTable struct {
	mu     sync.RWMutex
	byName map[string]*Message
	byType map[reflect.Type]*Message
}

// AddMessage registers T under name. It panics when the name or the type is
// taken, or the name cannot travel.
func AddMessage[T any](name string) struct{} {
	m := &Message{
		Name:   name,
		Encode: func(msg any) (wire.Codec, []byte, error) { return codec.Encode(msg.(T)) },
		Decode: func(c wire.Codec, b []byte) (any, error) { return codec.Decode[T](c, b) },
	}
	messages.add(m, reflect.TypeFor[T]())
	return struct{}{}
}

// add panics on what a programmer has to correct: two types with one name would be
// decoded into each other.
func (t *messageTable) add(m *Message, of reflect.Type) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case m.Name == "" || m.Name[0] == '$' || len(m.Name) > wire.MaxName:
		panic(fmt.Sprintf("cluster: RegisterMessage[%v](%q): needs a name of 1 to %d bytes that does not begin with $", of, m.Name, wire.MaxName))
	case t.byName[m.Name] != nil:
		panic(fmt.Sprintf("cluster: a message named %q is registered already; choose another name", m.Name))
	case t.byType[of] != nil:
		panic(fmt.Sprintf("cluster: messages of type %v are registered already, as %q", of, t.byType[of].Name))
	}
	t.byName[m.Name], t.byType[of] = m, m
}

// MessageNamed finds a type of message by its name; nil when there is none.
func MessageNamed(name string) *Message {
	messages.mu.RLock()
	defer messages.mu.RUnlock()
	return messages.byName[name]
}

// MessageOf finds the type of message that msg is; nil when it is not registered.
func MessageOf(msg any) *Message {
	messages.mu.RLock()
	defer messages.mu.RUnlock()
	return messages.byType[reflect.TypeOf(msg)]
}

// What the actors of transports and children understand, on any node.
var (
	_ = AddMessage[subprocess.SignalRequest]("process.signal")
	_ = AddMessage[transportactors.WriteRequest]("transport.write")
	_ = AddMessage[transportactors.CloseRequest]("transport.close")
	_ = AddMessage[transportactors.AbortRequest]("transport.abort")
	_ = AddMessage[transportactors.Accepted]("transport.accepted")
)
