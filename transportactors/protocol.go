package transportactors

// Protocol is what a connection tells. All methods run on the loop's goroutine
// and must not block. asyncio.Protocol.
type Protocol interface {
	// ConnectionMade comes first, once.
	ConnectionMade(t Transport)
	// DataReceived brings bytes. They are valid during the call only: copy what is kept.
	DataReceived(data []byte)
	// ConnectionLost comes once and last. reason is nil after Close, Abort and
	// the end of the input; otherwise the system's error, or the *loopnode.Panic of
	// a method of the protocol, or loopnode.ErrGoexit when one called runtime.Goexit.
	ConnectionLost(reason error)
}

// Optional methods. A protocol has them when it has the methods below; nothing
// else says so, so let the compiler check the spelling:
//
//	var _ transportactors.EOFReceiver = (*MyProtocol)(nil)
//
// In debug mode a method whose name or form is almost one of these is logged.

// EOFReceiver is a Protocol that wants to know that the peer writes no more.
// Returning true keeps the connection open for writing. Without this method,
// and for false, the transport closes. asyncio: eof_received.
type EOFReceiver interface {
	EOFReceived() (keepOpen bool)
}

// WritePauser is a Protocol that is told when its peer reads too slowly.
// PauseWriting comes inside the Write that goes above the high water mark,
// ResumeWriting from the loop once the low one is reached; they alternate.
type WritePauser interface {
	PauseWriting()
	ResumeWriting()
}

// BufferedProtocol is a Protocol that owns the memory its bytes are read into.
// It gets these calls in place of DataReceived. asyncio.BufferedProtocol.
type BufferedProtocol interface {
	// GetBuffer gives room for the next read; hint -1 means any size. An empty
	// buffer ends the connection with loopnode.ErrInvalidArgument.
	GetBuffer(hint int) []byte
	// BufferUpdated says that n bytes, at least 1, are in that buffer.
	BufferUpdated(n int)
}

// receiver is a protocol, whose methods are looked up when they are called; nil for
// one that it lacks. Why not once: a connection that is idle would keep the answers.
// Only what each read asks is kept.
type receiver struct {
	value  any
	data   interface{ DataReceived([]byte) }
	buffer bool // it is a BufferedProtocol
}

func receiverOf(p any) (r receiver) {
	r.value = p
	r.data, _ = p.(interface{ DataReceived([]byte) })
	_, r.buffer = p.(BufferedProtocol)
	return r
}

func method[M any](r *receiver) M {
	m, _ := r.value.(M)
	return m
}

func (r *receiver) made() interface{ ConnectionMade(Transport) } {
	return method[interface{ ConnectionMade(Transport) }](r)
}
func (r *receiver) buffered() BufferedProtocol { return method[BufferedProtocol](r) }
func (r *receiver) eof() EOFReceiver           { return method[EOFReceiver](r) }
func (r *receiver) pauser() WritePauser        { return method[WritePauser](r) }
func (r *receiver) files() FilesReceiver       { return method[FilesReceiver](r) }
func (r *receiver) lost() interface{ ConnectionLost(error) } {
	return method[interface{ ConnectionLost(error) }](r)
}

// Of a datagram protocol.

func (r *receiver) opened() interface{ ConnectionMade(DatagramTransport) } {
	return method[interface{ ConnectionMade(DatagramTransport) }](r)
}
func (r *receiver) packets() interface{ DatagramReceived([]byte, Addr) } {
	return method[interface{ DatagramReceived([]byte, Addr) }](r)
}
func (r *receiver) errors() interface{ ErrorReceived(error) } {
	return method[interface{ ErrorReceived(error) }](r)
}
