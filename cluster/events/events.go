// Package events is what a node tells the program that follows it (Node.Events): who is
// a member of the cluster, whether this node may serve, what was refused or got lost
// between nodes, and which durable commands and calls for later it gave up.
package events

import "time"

// Kind says what an Event is about.
type Kind uint8

// The kinds. Joined to Left are about other members: a node goes from joined to suspect
// and back as often as it likes; dead or left ends it, and one that was given up and lives
// joins again. Fenced to NameLost are about this node. The others are about what did not
// work between two nodes: at most one event a second of one kind about one node, whose
// Count says how many there were. DeadLetter and DeadTimer are about what this node has given
// up; at most 32 a second of each are told, the next one counts the others.
const (
	Joined  Kind = 1 + iota // a node is a member now; every stream begins with those that are
	Suspect                 // it may be gone: it is silent, or its connection has ended; nothing has ended yet
	Back                    // a suspect has given a sign of life
	Dead                    // it is given up, or was replaced by a newer incarnation; Event.Why is the evidence
	Left                    // it ended on purpose
	Lagged                  // the reader was too slow: forget all members, they are told again as Joined

	Fenced   // this node serves nobody until it reaches the cluster again
	Serving  // this node serves again
	NameLost // a newer node has this node's name: this node ends

	Refused  // Member asked this node for what it has no right to
	Denied   // the NATS server did not let this node send or hear something: its keys do not allow it
	Conflict // another process has, or wants, this node's name
	Slow     // NATS dropped messages for this node, which did not look at them in time
	Gap      // messages of Member to this node never arrived

	DeadLetter // a durable command failed as often as it may: Event.Letter
	DeadTimer  // a durable call for later did: Event.Letter
)

var names = [...]string{"", "joined", "suspect", "back", "dead", "left", "lagged", "fenced", "serving", "name lost", "refused", "denied", "conflict", "slow", "gap", "dead letter", "dead timer"}

// String names the kind for logs.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Event is one change as this node sees it.
type Event struct {
	Kind   Kind
	Member Member    // as it was then; of Lagged: none
	Why    string    // the evidence, or what was refused, in words
	Count  uint64    // how often it has happened since the last event of that kind about that node; 1 where each is told
	Time   time.Time // when this node saw it
	Letter *Letter   // of DeadLetter and DeadTimer: what was given up, nil otherwise. It is shared: do not change it
}

// Letter is a durable command, or a call for later, that failed as often as it may (package
// durable). A command stays until somebody requeues it, a call until somebody fires or
// cancels it.
type Letter struct {
	Queue    string `json:"queue,omitempty"` // of a command
	Group    string `json:"group,omitempty"` // of a call for later
	ID       string `json:"id"`
	Recurs   bool   `json:"recurs,omitempty"` // only one time of a recurring call was given up: it goes on with the next one
	Key      string `json:"key,omitempty"`
	Attempts int    `json:"attempts"`
	Reason   string `json:"reason"` // the last error, at most half a kilobyte of it
}

// Member is a node of the cluster as this node knows it.
type Member struct {
	Name        string    `json:"name"`
	Incarnation uint64    `json:"incarnation"`
	Joined      time.Time `json:"joined"`    // when it became a member for this node
	LastSeen    time.Time `json:"last_seen"` // when it last said something
	Suspect     bool      `json:"suspect"`   // it may be gone
	Self        bool      `json:"self"`
}
