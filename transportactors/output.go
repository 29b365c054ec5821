package transportactors

// output is what the kernel has not taken yet: copies, in order.
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
