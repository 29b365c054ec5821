// Package registry holds what a program makes callable by name: functions, and
// types of message between actors. Both tables are of the process, because
// package variables fill them before any node exists.
package registry

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// OrderPrefix begins the names of functions that stop what runs here. Another node
// needs the right "admin" to call them, whatever functions it may call otherwise.
const OrderPrefix = "loopmesh.order."

// SpawnPrefix begins the names of functions that start and end commands: one for each
// profile, whose name follows. Another node needs the right "spawn:PROFILE" to call them.
const SpawnPrefix = "loopmesh.spawn."

// Entry is a registered function without its types.
type Entry struct {
	Name    string
	In, Out string // Go types, for people
	// Serve decodes the argument, runs the function and encodes its result. It
	// runs in the task of the call.
	Serve func(ctx context.Context, codec wire.Codec, payload []byte) (Outcome, error)
	// Run is Serve for a call whose result nobody wants: it is not encoded.
	Run func(ctx context.Context, codec wire.Codec, payload []byte) error
	// Func is the user's function, for descriptions of the task of a call.
	Func func() any
}

// Outcome is a result as it travels.
type Outcome struct {
	Codec   wire.Codec
	Payload []byte
}

var functions = functionTable{byName: map[string]*Entry{}}

type functionTable struct {
	mu     sync.RWMutex
	byName map[string]*Entry
}

// Function finds a function by its name; nil when there is none.
func Function(name string) *Entry {
	functions.mu.RLock()
	defer functions.mu.RUnlock()
	return functions.byName[name]
}

// AddFunction adds e; false when its name is taken.
func AddFunction(e *Entry) bool {
	functions.mu.Lock()
	defer functions.mu.Unlock()
	if functions.byName[e.Name] != nil {
		return false
	}
	functions.byName[e.Name] = e
	return true
}

// Functions are all functions by name.
func Functions() []*Entry {
	functions.mu.RLock()
	defer functions.mu.RUnlock()
	return slices.SortedFunc(maps.Values(functions.byName), func(a, b *Entry) int { return strings.Compare(a.Name, b.Name) })
}
