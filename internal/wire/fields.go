package wire

// field is one bit per field of a frame. The bits are in the order in which the
// fields travel, so the layout of every kind is a line of the table below.
type field uint16

const (
	fFrom        field = 1 << iota // name and incarnation of the sender
	fIncarnation                   // of the receiver, and of its loop
	fPath
	fFunction
	fOp
	fCodec
	fRemaining
	fWhen
	fFlow  // number, and At when the number is not 0
	fGrant // window, lost, refused
	fError // code, sentinel, message
	fPayload
	fSender
	fStanding
	fRest // the payload is all that follows
	fTrace
)

// layout is the wire format. Invariant: a line is never changed once released;
// a new need gets a new kind or a new version byte.
var layout = [kindEnd]field{
	Call:        fFrom | fIncarnation | fPath | fFunction | fCodec | fRemaining | fPayload,
	Cast:        fFrom | fIncarnation | fPath | fFunction | fOp | fCodec | fWhen | fFlow | fPayload,
	Result:      fCodec | fPayload,
	Error:       fError,
	Cancel:      fFrom,
	Ping:        fFrom | fStanding,
	Pong:        fFrom | fStanding,
	Goodbye:     fFrom | fStanding,
	Watch:       fFrom | fIncarnation | fPath,
	Unwatch:     fFrom,
	Terminated:  fFrom | fError,
	TransportOp: fFrom | fIncarnation | fPath | fOp | fRemaining | fPayload,
	Tell:        fFrom | fIncarnation | fPath | fFunction | fCodec | fFlow | fError | fPayload | fSender,
	CancelAll:   fFrom,
	Batch:       fRest,
	Credit:      fFrom | fFlow | fGrant | fError,
	Sync:        fFrom | fPath | fFlow,
	EndFlow:     fFrom | fFlow,
	Probe:       fFrom | fStanding,
	Claim:       fFrom | fStanding,
	Refuse:      fFrom | fStanding,
	Ask:         fFrom | fStanding,
	Watching:    fFrom,
	Stream:      fFrom | fIncarnation | fPath | fOp | fRemaining | fFlow | fPayload,
	Taken:       fFrom | fFlow | fError,
	Publish:     fFrom | fFunction | fCodec | fFlow | fPayload,
	TracedCall:  fFrom | fIncarnation | fPath | fFunction | fCodec | fRemaining | fPayload | fTrace,
}
