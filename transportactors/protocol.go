package transportactors

// Protocol is what a connection tells. All methods run on the loop's goroutine
// and must not block. asyncio.Protocol.
type Protocol interface {
	// ConnectionMade comes first, once.
	ConnectionMade(t Transport)
	// DataReceived brings bytes. They are lent for the call: copy what is kept.
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
	// buffer ends the connection with ErrEmptyBuffer.
	GetBuffer(hint int) []byte
	// BufferUpdated says that n bytes, at least 1, are in that buffer.
	BufferUpdated(n int)
}

// receiver is a protocol taken apart once: methods it lacks are nil.
type receiver struct {
	value  any
	made   interface{ ConnectionMade(Transport) }
	data   interface{ DataReceived([]byte) }
	buffer BufferedProtocol
	eof    EOFReceiver
	pauser WritePauser
	files  FilesReceiver
	lost   interface{ ConnectionLost(error) }
	// Of a datagram protocol.
	opened  interface{ ConnectionMade(DatagramTransport) }
	packets interface{ DatagramReceived([]byte, Addr) }
	errors  interface{ ErrorReceived(error) }
}

func receiverOf(p any) (r receiver) {
	r.value = p
	r.made, _ = p.(interface{ ConnectionMade(Transport) })
	r.data, _ = p.(interface{ DataReceived([]byte) })
	r.buffer, _ = p.(BufferedProtocol)
	r.eof, _ = p.(EOFReceiver)
	r.pauser, _ = p.(WritePauser)
	r.files, _ = p.(FilesReceiver)
	r.lost, _ = p.(interface{ ConnectionLost(error) })
	r.opened, _ = p.(interface{ ConnectionMade(DatagramTransport) })
	r.packets, _ = p.(interface{ DatagramReceived([]byte, Addr) })
	r.errors, _ = p.(interface{ ErrorReceived(error) })
	return r
}
