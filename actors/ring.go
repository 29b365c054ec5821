package actors

// ring is a first-in first-out queue that gives memory back after a burst.
// Owned by whoever guards it; the zero value is empty.
type ring[T any] struct {
	buf  []T // Invariant: the length is zero or a power of two.
	head int
	n    int
}

const (
	ringFirst = 4
	ringKeep  = 64 // a ring this short is never shrunk
)

func (r *ring[T]) push(v T) {
	if r.n == len(r.buf) {
		r.resize(max(ringFirst, 2*r.n))
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = v
	r.n++
}

func (r *ring[T]) pop() (v T, ok bool) {
	if r.n == 0 {
		return v, false
	}
	slot := &r.buf[r.head]
	v = *slot
	var zero T
	*slot = zero // do not keep the message alive
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	if len(r.buf) > ringKeep && r.n < len(r.buf)/4 {
		r.resize(len(r.buf) / 2)
	}
	return v, true
}

func (r *ring[T]) resize(size int) {
	buf := make([]T, size)
	for i := range r.n {
		buf[i] = r.buf[(r.head+i)&(len(r.buf)-1)]
	}
	r.buf, r.head = buf, 0
}
