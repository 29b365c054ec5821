package membership

import (
	"fmt"
	"time"
)

// ID names one life of a node. Comparable.
type ID struct {
	Name        string
	Incarnation uint64 // a later life of the same name has a higher one
}

// String is name@incarnation.
func (id ID) String() string { return fmt.Sprintf("%s@%d", id.Name, id.Incarnation) }

// Kind says what a Message is for.
type Kind uint8

// The kinds of message.
const (
	Probe   Kind = 1 + iota // to the name: does anybody listen as this name? A holder answers Refuse
	Claim                   // to everybody: From wants the name, or has it still (Message.Held)
	Refuse                  // to a claimant: Other is the incarnation that has, or had, the name
	Beat                    // to everybody: From lives
	Ask                     // to one node: do you live?
	Answer                  // to one node: yes
	Goodbye                 // to everybody: From ends on purpose
)

var kindNames = [...]string{"", "probe", "claim", "refuse", "beat", "ask", "answer", "goodbye"}

// String names the kind for logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Message is what nodes tell each other about membership.
type Message struct {
	Kind      Kind
	From      ID
	To        ID     // zero: everybody. A Probe has no incarnation
	Seq       uint64 // Beat: its number. Ask and Answer: the question
	Other     uint64 // Refuse: the incarnation that has, or had, the name
	Announced bool   // From is a member, not only the holder of a name
	Held      bool   // Claim: From had the name before it was cut off
	Outdated  bool   // Answer: From knows a newer incarnation of the name of who asked
}

// EventKind says what has happened to a node.
type EventKind uint8

// The kinds of event. The last four are about this node.
const (
	Joined  EventKind = 1 + iota // a node became a member
	Suspect                      // a member may be gone; nothing has ended yet
	Back                         // a suspect has given a sign of life
	Dead                         // a member is given up
	Left                         // a member said goodbye
	Full                         // a node was not admitted: there are Config.MaxMembers

	Claimed // the name belongs to this node
	Refused // the name does not become this node's; Event.ID is who has or had it
	Fenced  // this node must not serve: it could not reach the cluster
	Serving // it may serve again
	Lost    // a newer incarnation of this name lives: this node must end
)

var eventNames = [...]string{"", "joined", "suspect", "back", "dead", "left", "full", "claimed", "refused", "fenced", "serving", "lost"}

// String names the kind for logs.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown"
}

// Event is one change, in the order in which they happened.
type Event struct {
	Kind EventKind
	ID   ID
	Why  string // evidence, in words; "" where the kind says all

	Joined, Heard time.Duration // of Dead and Left: as in Member, which is no member any more
}

// Output is what the owner of a Machine has to do next.
type Output struct {
	Messages []Message     // to send, in this order
	Events   []Event       // to report, in this order
	Wake     time.Duration // call Tick at this time at the latest; 0: at the usual time
}

// Config are the times and limits of a Machine. All are > 0.
type Config struct {
	Heartbeat   time.Duration // between two heartbeats
	QuietAfter  time.Duration // silence that makes a member suspect
	DeadAfter   time.Duration // silence that is evidence of death
	FenceAfter  time.Duration // age of the last proof at which this node stops serving; less than DeadAfter
	LateTick    time.Duration // time between two ticks that says: this process stood still
	LateEcho    time.Duration // age of an own heartbeat that says: the link is stalled
	LinkTimeout time.Duration // after which clients give up a server that does not answer
	Again       time.Duration // patience with a process that closed its connection
	Patience    time.Duration // patience with a node that may be reconnecting
	ProbeWait   time.Duration // how long a holder of the name may take to answer
	Settle      time.Duration // how long others may take to object to a claim
	Remember    time.Duration // how long a newer incarnation that has ended keeps an older one out

	Secret uint64 // what a stranger cannot guess: the numbers of questions follow from it

	MaxAhead      uint64 // incarnations that far ahead of this one are not believed
	MaxMembers    int    // others
	MaxCandidates int    // names that were used but have not answered
	MaxFormers    int    // names of former members whose newest incarnation is remembered
}

// Defaults are the figures that follow from the two that users set.
func Defaults(heartbeat, deadAfter time.Duration) Config {
	return Config{
		Heartbeat: heartbeat, DeadAfter: deadAfter,
		QuietAfter: 2 * heartbeat, FenceAfter: deadAfter - heartbeat/4,
		LateTick: heartbeat/2 + heartbeat/4, LateEcho: heartbeat / 2, LinkTimeout: 2 * time.Second,
		Again: 4 * time.Millisecond, Patience: time.Second,
		ProbeWait: time.Second, Settle: 50 * time.Millisecond, Remember: 4 * deadAfter,
		MaxAhead:   uint64(24*time.Hour/time.Millisecond) << 20,
		MaxMembers: 10_000, MaxCandidates: 1024, MaxFormers: 4096,
	}
}
