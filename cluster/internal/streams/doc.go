// Package streams writes to connections of other nodes, in order and with bounded
// memory.
//
//	writer                          sending goroutine        loop of the connection
//	Write → accepted, at most Window → bulk link → In.Handle → transportactors.Ref.Feed
//	ResumeWriting ◀──────────────── Taken ◀──────────────────── the transport took it
//
// A Stream is what one writer sends to one connection. What it has accepted and the
// connection has not taken never exceeds Window, wherever it is: in the writer's node,
// on the way, or waiting for the connection's peer. A connection takes bytes when those
// before them have fallen to its low water mark, so a peer that reads slowly slows the
// writer, and other streams do not notice.
//
// Bytes travel on the bulk link (engine), so that they delay no heartbeat and, should
// the server lose patience with it, end no membership. Each frame is stamped with what
// was sent before it. The receiving half knows from the stamp when a frame is missing:
// then the stream is over and the connection fails with a reason, because its bytes
// would be wrong. A frame that comes twice is dropped.
//
// A Taken carries absolute figures and travels on the control link: it may be lost,
// repeated or overtaken. After a reconnect, and when nothing has moved for a heartbeat,
// each stream asks (Query) and hears what was taken, or that something is missing.
//
// Who owns what. A Stream is the writer's; its lock is held for moments and never while
// something is sent. Out.Run is the only goroutine that sends, one frame of each stream
// in turn, so a large stream does not keep a small one waiting. Items leave the queue of
// their stream before they are sent, and return to its front when there is no
// connection: the stamps stay right. The receiving half belongs to the goroutine of the
// bulk subscription; what the transport takes is counted on the transport's loop.
//
// Two frames do not wait for their turn: Abort, and the End of a stream that is over
// anyway (endsAnyway). They travel on the control link.
//
// What takes the bytes is a Target: a connection, or something that was expected under a
// reserved path (target.go), which is how package process has stdin and output of children
// without a right to write to connections. A target that was expected ends with the
// writer's node; a connection does not.
//
// A stream ends when its writer closes or detaches it, when the connection ends, when
// one of the two nodes goes, or when something is missing. The writer hears the reason
// of the connection's end. The end of a writer's node leaves the connection to its
// owner.
package streams

const (
	// Window is how many bytes of a stream may be under way, and the most that Write
	// takes at once.
	Window = 1 << 20
	// Above High the protocol of the writer is told PauseWriting, at Low
	// ResumeWriting. Invariant: Low is at least tellEach, or a writer would wait for a
	// Taken that is not due.
	High = Window / 2
	// Low is what is left under way when a paused writer may go on.
	Low = Window / 4
	// tellEach is how many bytes are taken before the writer is told without asking.
	tellEach = Window / 4
	// piece is how many bytes go in one frame, where the server takes that many.
	piece = 128 << 10
	// maxIn bounds the streams of other nodes; a node may have a quarter of them.
	maxIn = 1 << 16
)
