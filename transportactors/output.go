package transportactors

// output is the write queue of a connection: copies of what the kernel has not
// taken yet, in order. Owned by the loop goroutine.
//
// A write goes to the kernel at once while the queue is empty, and only what the
// kernel does not take is copied. From then on everything is queued behind it, so
// that bytes leave in the order of the calls. The poller calls onWritable when the
// kernel has room; it sends as much as one call takes. When the queue passes the
// high mark of flow, the protocol hears PauseWriting; at the low mark,
// ResumeWriting. Above the hard limit the connection ends.
//
// Invariant: the poller watches for room exactly while size is above zero and the
// connection is not gathering (gather.go), or a file is on its way behind the queue.
type output struct {
	pieces [][]byte
	size   int // bytes in pieces
}

// smallPiece is how much room a piece gets at least, so that many small writes
// share one.
const smallPiece = 4 << 10

func (o *output) add(p []byte) {
	o.size += len(p)
	if n := len(o.pieces); n > 0 {
		last := o.pieces[n-1]
		if room := cap(last) - len(last); room >= len(p) {
			o.pieces[n-1] = append(last, p...)
			return
		}
	}
	if len(p) > 0 {
		o.pieces = append(o.pieces, append(make([]byte, 0, max(len(p), smallPiece)), p...))
	}
}

// send gives the kernel what it takes, with one call.
func (o *output) send(to *Socket) error {
	n, err := to.writev(o.pieces)
	if err != nil {
		return err
	}
	o.size -= n
	o.pieces = skip(o.pieces, n)
	if o.size == 0 {
		o.pieces = nil
	}
	return nil
}

func (o *output) drop() { *o = output{} }

// skip leaves out the first n bytes of pieces. It moves the slices, so the
// caller's list must be its own.
func skip(pieces [][]byte, n int) [][]byte {
	i := 0
	for i < len(pieces) && n >= len(pieces[i]) {
		n -= len(pieces[i])
		pieces[i] = nil
		i++
	}
	pieces = pieces[i:]
	if n > 0 {
		pieces[0] = pieces[0][n:]
	}
	return pieces
}
