// Package wire is the form in which nodes talk to each other: one small binary
// frame per message. The package is pure. It reads and writes byte slices and
// knows no clock, no lock, no descriptor and no network.
//
// A frame is
//
//	version, kind, uvarint id, then the fields of that kind in the order of field
//
// Strings and payloads are a uvarint length followed by bytes. Kinds and error
// codes are only ever appended: a number once given keeps its meaning.
package wire

import "time"

// Version is the first byte of every frame this build writes.
const Version = 2

// Limits of what Decode accepts. A length is checked against them and against
// what is left of the input before anything is allocated.
const (
	MaxName    = 255                    // node, function and sentinel names, in bytes
	MaxPath    = 1 << 10                // loop/server:port/connection, in bytes
	MaxAddress = MaxName + 22 + MaxPath // node@incarnation/path, in bytes
	MaxMessage = 4 << 10                // text of an error, in bytes
	MaxTrace   = 1 << 10                // context of a span, in bytes
	MaxPayload = 1 << 20                // default for arguments and results, in bytes
	Overhead   = 8 << 10                // room for everything in a frame that is not payload
)

// Kind says what a frame is for.
type Kind uint8

// The kinds. Numbers are part of the wire format.
const (
	Call        Kind = 1  // run a function, answer with Result or Error
	Cast        Kind = 2  // run a function soon, later or at a time; no result
	Result      Kind = 3  // a Call, Watch or TransportOp went well
	Error       Kind = 4  // it did not: code and message
	Cancel      Kind = 5  // the caller of ID does not wait any more
	Ping        Kind = 6  // to everybody: I live; ID is its number
	Pong        Kind = 7  // answers Ask: I live; ID is that of the question
	Goodbye     Kind = 9  // I leave on purpose
	Watch       Kind = 10 // tell me when Path ends
	Unwatch     Kind = 11 // do not, or: I have been told
	Terminated  Kind = 12 // what you watched under ID has ended
	TransportOp Kind = 13 // an order to a connection by its path, from earlier builds
	Tell        Kind = 14 // a message from actor to actor; Function names its type
	CancelAll   Kind = 15 // the caller does not wait any more for calls with ids up to ID
	Batch       Kind = 16 // frames that need no answer, one after another, see AppendBatch
	Credit      Kind = 17 // what of the flow Flow is done, lost and refused; Code says why the last one was refused
	Sync        Kind = 18 // all that was sent in the flow Flow to Path; answer with Credit
	EndFlow     Kind = 19 // the sender of the flow Flow uses it no more
	Probe       Kind = 21 // to a name: who holds it? Answered with Refuse
	Claim       Kind = 22 // to everybody: the name is mine, or is to be. Answered with Refuse by who knows better
	Refuse      Kind = 23 // the incarnation ID has, or had, your name
	Ask         Kind = 24 // do you live? Answered with Pong
	Watching    Kind = 25 // answers Watch: you will be told
	Stream      Kind = 26 // an order to a connection in the stream Flow; At is what was sent in it before
	Taken       Kind = 27 // At of the stream Flow was taken; with Code it is over
	Publish     Kind = 28 // to who subscribes to the topic Function: its message At.Messages in the series Flow
	TracedCall  Kind = 29 // how a Call with Trace travels: Append and Decode turn one into the other
	kindEnd     Kind = 30
)

// Bits of Standing.
const (
	Announced uint8 = 1 // the sender is a member
	Held      uint8 = 2 // Claim: the sender had the name before
	Outdated  uint8 = 4 // Pong: the sender knows a newer incarnation of who asked
)

// Op is the variant of a Cast, a TransportOp or a Stream. Decode refuses a number that
// is of another kind.
type Op uint8

// The variants. Numbers are part of the wire format.
const (
	Soon  Op = 1 // Cast: in the next turn
	Later Op = 2 // Cast: When after arrival
	At    Op = 3 // Cast: When is wall time in nanoseconds since 1970
	Write Op = 4 // TransportOp, Stream: Payload goes out
	Close Op = 5 // TransportOp, Stream: flush, then close
	Abort Op = 6 // TransportOp, Stream: close now

	Open   Op = 7  // Stream: it begins; answered with Result or Error
	EOF    Op = 8  // Stream: flush, then end the output
	Pause  Op = 9  // Stream: read no more
	Resume Op = 10 // Stream: read again
	Query  Op = 11 // Stream: say with Taken when all before has been taken
	End    Op = 12 // Stream: it ends, the connection goes on
)

// of reports whether op is a variant of kind.
func (op Op) of(kind Kind) bool {
	switch kind {
	case Cast:
		return Soon <= op && op <= At
	case Stream:
		return Write <= op && op <= End
	}
	return Write <= op && op <= Abort
}

// Amount is a number of messages and what they cost together, see package
// cluster/internal/credit.
type Amount struct{ Messages, Bytes uint64 }

// Codec says how Payload is written.
type Codec uint8

// The codecs. Numbers are part of the wire format.
const (
	JSON  Codec = 1 // encoding/json
	Raw   Codec = 2 // the bytes themselves: the Go type is []byte
	CBOR  Codec = 3 // RFC 8949
	Proto Codec = 4 // a protobuf message
)

// Frame is one message. Only the fields of its Kind travel; the others are zero
// after Decode. Payload points into the input given to Decode.
type Frame struct {
	Kind        Kind
	ID          uint64        // drawn by the asking node; answers repeat it
	From        string        // name of the sending node
	FromNumber  uint64        // its incarnation
	Incarnation uint64        // of the node addressed; 0: whichever lives now
	Loop        uint64        // incarnation of the loop addressed; 0: whichever lives now
	Path        string        // loop, or loop/…/connection, inside that node
	Function    string        // registered name of a function or of a message's type, or a topic
	Op          Op            // variant of Cast, TransportOp and Stream
	Flow        uint64        // number of the flow, stream or series, drawn by its sender; 0: the frame takes no credit
	At          Amount        // Cast, Tell, Stream: sent in the flow before; Sync: sent in all; Credit, Taken: done
	Window      Amount        // Credit: what may be under way
	Lost        uint64        // Credit: messages that never came
	Refused     uint64        // Credit: messages that came and did not run
	Codec       Codec         // of Payload
	Remaining   time.Duration // time left until the caller gives up; 0: no deadline
	When        int64         // Cast: delay or wall time, see Op
	Code        Code          // Error, Terminated, Tell, Credit
	Sentinel    string        // registered name of the error, "" when it has none
	Message     string        // text of the error
	Payload     []byte        // arguments, result, bytes to write, message
	Standing    uint8         // of the sender: Announced, Held
	Sender      string        // Tell: address of the actor that sends, "" when nobody does
	Trace       string        // Call: context of the caller's span, "" without one
}

// Code classifies an error so that errors.Is works on the other side.
type Code uint16

// The codes. Numbers are part of the wire format.
const (
	User            Code = 1  // the function returned an error of its own
	UnknownNode     Code = 2  // nobody listens under that name
	UnknownLoop     Code = 3  // the node has no such loop
	UnknownFunction Code = 4  // the node has no such function
	DeadIncarnation Code = 5  // the address means an earlier life of the node
	Expired         Code = 6  // the deadline passed before the function ran
	BadPayload      Code = 7  // the payload does not fit the function's types
	TooLarge        Code = 8  // payload or result above the limit
	Panicked        Code = 9  // the function panicked
	Cancelled       Code = 10 // the function's task was cancelled
	Busy            Code = 11 // the node has as many calls as it may hold
	Closed          Code = 12 // the loop is closed or the node is leaving
	Refused         Code = 13 // not allowed here
	UnknownTarget   Code = 14 // no transport under that path
	NameTaken       Code = 15 // another live node has this name
	NodeDown        Code = 16 // Terminated: the node is gone
	LoopDied        Code = 17 // Terminated: the loop's goroutine failed
	Stopped         Code = 18 // Terminated: ended on purpose
	UnknownMessage  Code = 19 // the node's program registers no such message
	StaleLoop       Code = 20 // the address means an earlier loop of that name
	NoCredit        Code = 21 // more under way than the other side allows
	Fenced          Code = 22 // the node does not serve: it could not reach the cluster
	Lost            Code = 23 // Taken: a frame of the stream never arrived
	Leaving         Code = 24 // the node or loop is leaving: nothing ran
)

// String names the kind for logs.
func (k Kind) String() string {
	if k > 0 && k < kindEnd && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

var kindNames = [kindEnd]string{
	Call: "call", Cast: "cast", Result: "result", Error: "error", Cancel: "cancel", Ping: "ping", Pong: "pong",
	Goodbye: "goodbye", Watch: "watch", Unwatch: "unwatch", Terminated: "terminated", TransportOp: "transport-op", Tell: "tell",
	CancelAll: "cancel-all", Batch: "batch", Credit: "credit", Sync: "sync", EndFlow: "end-flow", Probe: "probe", Claim: "claim", Refuse: "refuse", Ask: "ask", Watching: "watching", Stream: "stream", Taken: "taken", Publish: "publish", TracedCall: "traced-call",
}
