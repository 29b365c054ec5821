package records

import "github.com/loopmesh/loopmesh/cluster/internal/admit"

// Hold has a write of so many bytes be under way until release is called.
func (r *Records) Hold(bytes int) (release func()) {
	w := admit.Write{Bytes: bytes, Messages: 1}
	r.gate.Lock()
	defer r.gate.Unlock()
	r.gate.Begin(w)
	return func() {
		r.gate.Lock()
		defer r.gate.Unlock()
		r.gate.End(w)
	}
}

// Readings is how often the levels were read.
func (r *Records) Readings() uint64 {
	r.gate.Lock()
	defer r.gate.Unlock()
	return r.gate.begun
}

// Blind keeps everybody from reading the levels until release is called.
func (r *Records) Blind() (release func()) {
	r.looking <- struct{}{}
	return func() { <-r.looking }
}
