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
)

// Node is a member of the cluster. What a silent one would have told is zero.
type Node struct {
	ID          string    `json:"id"`
	Incarnation string    `json:"incarnation"` // 16 hexadecimal digits
	State       string    `json:"state"`
	Self        bool      `json:"self"` // the node that was asked
	LastSeen    time.Time `json:"last_seen"`
	Host        string    `json:"host,omitempty"`
	PID         int       `json:"pid,omitempty"`
	Started     time.Time `json:"started,omitzero"`
	Version     string    `json:"version,omitempty"`
	Go          string    `json:"go,omitempty"`
	URL         string    `json:"url,omitempty"` // where others can join
	Loops       int       `json:"loops"`
	Tasks       int       `json:"tasks"`
	Conns       int       `json:"conns"`
	Servers     int       `json:"servers"`
	Served      uint64    `json:"served"`       // calls of other nodes that ran here
	Calls       uint64    `json:"calls"`        // calls of this node to others
	CallsFailed uint64    `json:"calls_failed"` // of these: ended in an error
}

// Loop is an event loop of a node, as it told about itself in a turn of its own.
type Loop struct {
	ID         string   `json:"id"` // node/loop, as every command takes it
	Node       string   `json:"node"`
	Name       string   `json:"name"`
	Tasks      int      `json:"tasks"`
	Conns      int      `json:"conns"`
	Servers    []string `json:"servers"`     // addresses they listen on
	AnsweredUS int64    `json:"answered_us"` // how long the question took, there and back
}

// Conn is a connection on a loop, as its loop saw it in one turn: its fields fit
// together, and may be old when they are read.
type Conn struct {
	ID          string `json:"id"` // as conn write and conn close take it
	Node        string `json:"node"`
	Loop        string `json:"loop"`
	Peer        string `json:"peer,omitempty"`
	Local       string `json:"local,omitempty"`
	Protocol    string `json:"protocol"` // its Go type
	WriteBuffer int    `json:"write_buffer_bytes"`
	Reading     bool   `json:"reading"`
	Closing     bool   `json:"closing"`
}

// Func is a registered function and the nodes that have it. Functions of one name but
// other types are two items.
type Func struct {
	ID       string   `json:"id"` // its name
	In       string   `json:"in"` // Go types
	Out      string   `json:"out"`
	Internal bool     `json:"internal"` // serves this API
	Nodes    []string `json:"nodes"`
}

// Self is the node that answers, and the members that it knows, itself included. Two
// nodes are of one cluster when each is among the other's members with the same
// incarnation.
type Self struct {
	Kind        string            `json:"kind"`
	APIVersion  string            `json:"apiVersion"`
	Name        string            `json:"name"`
	Incarnation string            `json:"incarnation"`
	Members     map[string]string `json:"members"` // name → incarnation
}

// CallRequest asks for a call of a function.
type CallRequest struct {
	Function string          `json:"function"`
	On       string          `json:"on"` // node/loop
	Payload  json.RawMessage `json:"payload,omitempty"`
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
