package admin

import (
	"encoding/json"
	"time"
)

// The documents of the API, as JSON. Invariant: fields are added, never renamed,
// removed or given another meaning within one APIVersion: scripts read them. A number
// carries its unit in its name (_us, _bytes). What can be unknown is omitted when it
// is empty, and everything else is always there.

// APIVersion is in every document. Fields are added, never changed.
const APIVersion = "v1"

// List is how every listing looks in JSON.
type List[T any] struct {
	Kind       string    `json:"kind"`
	APIVersion string    `json:"apiVersion"`
	Time       time.Time `json:"time"`
	Items      []T       `json:"items"`
	Partial    []Missing `json:"partial,omitempty"`
}

// Missing is a node or a loop that did not answer, and why. An id with a slash is a
// loop.
type Missing struct {
	ID    string `json:"id"`
	Error Error  `json:"error"`
}

// States of a node.
const (
	Ready   = "ready"
	Suspect = "suspect" // not heard of for a while, not given up
	Silent  = "silent"  // a member that does not answer this question
	Dead    = "dead"    // was given up; it stays in the list for a day
	Left    = "left"    // ended on purpose; in the list on demand
)

// Node is a member of the cluster. What a silent one would have told is zero.
type Node struct {
	ID string `json:"id"`
	// A decimal number, as in addresses; a text, since it does not fit a float64.
	Incarnation string `json:"incarnation"`
	State       string `json:"state"`
	// The node that was asked.
	Self     bool      `json:"self"`
	LastSeen time.Time `json:"last_seen"`
	Host     string    `json:"host,omitempty"`
	PID      int       `json:"pid,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Version  string    `json:"version,omitempty"`
	Go       string    `json:"go,omitempty"`
	// Where others can join.
	URL     string `json:"url,omitempty"`
	Loops   int    `json:"loops"`
	Tasks   int    `json:"tasks"`
	Conns   int    `json:"conns"`
	Servers int    `json:"servers"`
	// Calls of other nodes that ran here.
	Served uint64 `json:"served"`
	// Calls of this node to others.
	Calls uint64 `json:"calls"`
	// Of these: ended in an error.
	CallsFailed uint64 `json:"calls_failed"`
	// It was told to leave.
	Draining bool `json:"draining,omitempty"`
	// Of a dead one and one that left: when it was seen.
	Ended time.Time `json:"ended,omitzero"`
	// Of these: the evidence.
	Why string `json:"why,omitempty"`
}

// States of a loop.
const (
	Running = "running"
	Blocked = "blocked" // a callback does not return
)

// Loop is an event loop of a node, as it told about itself in a turn of its own.
type Loop struct {
	// Node/loop, as every command takes it.
	ID    string `json:"id"`
	Node  string `json:"node"`
	Name  string `json:"name"`
	Tasks int    `json:"tasks"`
	Conns int    `json:"conns"`
	// Addresses they listen on.
	Servers []string `json:"servers"`
	// How long the question took, there and back.
	AnsweredUS int64 `json:"answered_us"`
	// Running, or blocked: a callback does not return.
	State string `json:"state"`
	// Callbacks that wait for the next turn.
	Queue int `json:"queue"`
	// Armed.
	Timers int `json:"timers"`
	// Descriptors.
	Watched int `json:"watched"`
	// Processes.
	Children int `json:"children"`
	// Connections whose peer does not read.
	Paused int `json:"paused"`
	Unsent int `json:"unsent_bytes"`
	// What was measured meanwhile, when the question asked for it.
	Measured *Measured `json:"measured,omitempty"`
	// Of a blocked loop: for how long at least, and where.
	BlockedMS int64  `json:"blocked_ms,omitempty"`
	Frame     string `json:"frame,omitempty"`
}

// Measured is what a loop did while it was measured. Lag is how late a timer runs:
// everything that is sent to the loop waits about as long. Its two halves differ in what
// helps: many turns that are all short are much work, which more loops can share; a few
// long ones (TurnsByTime) are callbacks that block, which only the program can change.
// Measuring itself adds a timer that fires every few milliseconds, so an idle loop shows
// some turns.
type Measured struct {
	ForUS     int64  `json:"for_us"`
	Turns     uint64 `json:"turns"`
	Callbacks uint64 `json:"callbacks"`
	// Share of the time, 0 to 1.
	Busy      float64 `json:"busy"`
	LongestUS int64   `json:"longest_turn_us"`
	LagP50US  int64   `json:"lag_p50_us"`
	LagP99US  int64   `json:"lag_p99_us"`
	LagMaxUS  int64   `json:"lag_max_us"`
	// Only those that are not empty.
	TurnsByTime []Bucket `json:"turns_by_time"`
}

// Buckets double in size from one microsecond on, so that one list shows both a turn of
// 3 µs and one of 3 s.
//
// Bucket is a part of a histogram: how many were below BelowUS and not in an earlier
// one.
type Bucket struct {
	BelowUS int64  `json:"below_us"`
	Count   uint64 `json:"count"`
}

// Task is a task that has not ended. WaitsUS is told from when the loop's watchdog first
// looked behind the beginning of the wait, so it is a little too small, never too large;
// it is absent for a wait that nobody has looked at yet, and on a loop without a watchdog.
// AwaitedBy leaves out tasks of other loops and nodes: those wait for a call, not for the
// task.
type Task struct {
	// As task show and task cancel take it.
	ID   string `json:"id"`
	Node string `json:"node"`
	Loop string `json:"loop"`
	Name string `json:"name"`
	// Running, ready, waiting or cancelling.
	State string `json:"state"`
	// The function that it waits in.
	Waits string `json:"waits,omitempty"`
	// For how long, at least; absent when it is not known yet.
	WaitsUS *int64 `json:"waits_us,omitempty"`
	// The task that made it.
	Parent string `json:"parent,omitempty"`
	// Tasks of the same loop that wait for it.
	AwaitedBy []string `json:"awaited_by"`
	// It waits for itself, through others.
	Circle bool `json:"circle"`
	// Where it is, the newest call first.
	Stack []string `json:"stack,omitempty"`
}

// Listener is a server: what takes connections on a loop. Its number is its place in the
// order of addresses and changes when a server before it ends. Serving is false for one
// that was made without starting it, or that pauses because descriptors ran out.
type Listener struct {
	ID        string   `json:"id"`
	Node      string   `json:"node"`
	Loop      string   `json:"loop"`
	Addresses []string `json:"addresses"`
	Serving   bool     `json:"serving"`
	// Connections that were accepted and could not be served.
	Failed uint64 `json:"failed"`
}

// Child is a child process. Its arguments are told, since ps of the system tells them to
// every user of the machine anyway; its environment, where secrets belong, is not. Ended
// is one that has exited while something still reads its pipes, or whose output its node
// keeps for whoever attaches: that one has Process as its ID, since its PID may be another's.
type Child struct {
	ID      string   `json:"id"`
	Node    string   `json:"node"`
	Loop    string   `json:"loop"`
	PID     int      `json:"pid"`
	Args    []string `json:"args"`
	Dir     string   `json:"dir,omitempty"`
	Ended   bool     `json:"ended"`
	Closing bool     `json:"closing"`
	// Of one that was started by a profile: NODE/PROFILE/NUMBER, the node that has it, and
	// that it runs on without one. Without an owner it can be attached to.
	Process string `json:"process,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Keep    bool   `json:"keep,omitempty"`
}

// Actor is an actor that lives: those of the program, and those of connections and child
// processes whose address was asked for. Queued counts what has been sent and not been
// handled; on a loop that keeps up it is zero or a few.
type Actor struct {
	// Its address.
	ID     string `json:"id"`
	Node   string `json:"node"`
	Loop   string `json:"loop"`
	Queued int    `json:"queued"`
	// Of its mailbox; 0: none.
	Limit int `json:"limit"`
	// Taken and not answered.
	Asks       int  `json:"asks"`
	RestartDue bool `json:"restart_due"`
}

// Conn is a connection on a loop, as its loop saw it in one turn: its fields fit
// together, and may be old when they are read.
type Conn struct {
	// As conn write and conn close take it.
	ID    string `json:"id"`
	Node  string `json:"node"`
	Loop  string `json:"loop"`
	Peer  string `json:"peer,omitempty"`
	Local string `json:"local,omitempty"`
	// Its Go type.
	Protocol    string `json:"protocol"`
	WriteBuffer int    `json:"write_buffer_bytes"`
	Reading     bool   `json:"reading"`
	Closing     bool   `json:"closing"`
	// On the wire.
	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"` //
	// The marks of the write buffer.
	High int `json:"high_bytes"`
	Low  int `json:"low_bytes"`
	// Why its program may not write now.
	Paused string `json:"paused,omitempty"`
	// Version and cipher.
	TLS string `json:"tls,omitempty"`
}

// Func is a registered function and the nodes that have it. Functions of one name but
// other types are two items.
type Func struct {
	// Its name.
	ID string `json:"id"`
	// Go types.
	In  string `json:"in"`
	Out string `json:"out"`
	// Serves this API.
	Internal bool     `json:"internal"`
	Nodes    []string `json:"nodes"`
}

// Self is the node that answers, and the members that it knows, itself included. Two
// nodes are of one cluster when each is among the other's members with the same
// incarnation.
type Self struct {
	Kind        string `json:"kind"`
	APIVersion  string `json:"apiVersion"`
	Name        string `json:"name"`
	Incarnation string `json:"incarnation"`
	// Name → incarnation.
	Members map[string]string `json:"members"`
}

// CallRequest asks for a call of a function.
type CallRequest struct {
	Function string `json:"function"`
	// Node/loop.
	On      string          `json:"on"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// CallResult is what a function returned.
type CallResult struct {
	Kind       string          `json:"kind"`
	APIVersion string          `json:"apiVersion"`
	Function   string          `json:"function"`
	On         string          `json:"on"`
	TookUS     int64           `json:"took_us"`
	Result     json.RawMessage `json:"result"`
}

// Done says that an operation on a connection was carried out; for a write, that the
// connection has taken the bytes. That the peer has read them, nobody can say.
type Done struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	ID         string `json:"id"`
	Bytes      int    `json:"bytes,omitempty"`
}
