package watch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Node is one life of a node. Comparable.
type Node struct {
	Name        string
	Incarnation uint64
}

// String is name@incarnation.
func (n Node) String() string { return fmt.Sprintf("%s@%d", n.Name, n.Incarnation) }

// Kind says what a Message is for.
type Kind uint8

// The kinds of message.
const (
	Watch      Kind = 1 + iota // tell me when Path ends
	Watching                   // I will
	Terminated                 // it has ended, or cannot be watched: Reason
	Unwatch                    // I have been told, or do not want to know any more
)

var kindNames = [...]string{"", "watch", "watching", "terminated", "unwatch"}

// String names the kind for logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Message is what two nodes tell each other about one watch.
type Message struct {
	Kind   Kind
	To     Node
	ID     uint64 // drawn by the asking node
	Path   string // Watch
	Reason error  // Terminated
}

// Config are the times and limits. All are > 0.
type Config struct {
	Repeat     time.Duration // until something that was not answered is sent again
	Park       time.Duration // how long the watches of a node that was given up are kept
	AtOnce     int           // repetitions per Tick
	MaxTotal   int           // watches kept, of all nodes together
	MaxPerNode int           // watches kept of one other node
}

// Defaults are the figures for nodes that send a heartbeat that often.
func Defaults(heartbeat time.Duration) Config {
	return Config{Repeat: heartbeat, Park: 10 * time.Minute, AtOnce: 1024, MaxTotal: 100_000, MaxPerNode: 50_000}
}

// entry is something that may have to be sent again.
type entry interface {
	done() bool // it does not have to
	unqueued()  // it was dropped
}

// repeats are entries in the order of their last sending. All wait for the same
// time, so the first is the next one due. An entry is in it at most once. Those that
// are done are dropped when they come first, or when they are the majority.
type repeats[T entry] struct{ queue []T }

// add appends an entry. size is how many entries the table has.
func (r *repeats[T]) add(v T, size int) {
	if len(r.queue) > 2*size+64 {
		kept := make([]T, 0, size+1)
		for _, have := range r.queue {
			if !have.done() {
				kept = append(kept, have)
			} else {
				have.unqueued()
			}
		}
		r.queue = kept
	}
	r.queue = append(r.queue, v)
}

func (r *repeats[T]) first() (v T, ok bool) {
	if len(r.queue) == 0 {
		return v, false
	}
	return r.queue[0], true
}

// drop removes the first entry. Its place in memory is freed when append copies the
// rest.
func (r *repeats[T]) drop() {
	var none T
	r.queue[0].unqueued()
	r.queue[0] = none
	r.queue = r.queue[1:]
}

// sorted are the values of a table in the order of their keys, so that what happens
// to many at once happens in the order in which they came.
func sorted[K cmp.Ordered, V any](table map[K]V) []V {
	out := make([]V, 0, len(table))
	for _, k := range slices.Sorted(maps.Keys(table)) {
		out = append(out, table[k])
	}
	return out
}
