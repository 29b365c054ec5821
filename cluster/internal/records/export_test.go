package records

import (
	"context"

	"github.com/loopmesh/loopmesh/cluster/internal/admit"
)

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

// HoldLine has a line stand still until release is called.
func (r *Records) HoldLine(name string) (release func()) {
	m := &member{ctx: context.Background(), writes: []Write{{Subject: "held"}}, woken: make(chan struct{}, 1)}
	l := r.lines.join(name, m)
	f, _ := r.lines.turn(l, m)
	return func() { r.lines.landed(l, f, errLeft) }
}

// InLine is how many wait in a line.
func (r *Records) InLine(name string) int {
	r.lines.Lock()
	defer r.lines.Unlock()
	if l := r.lines.by[name]; l != nil {
		return len(l.queue)
	}
	return 0
}

// LastOf is what a follower of that subject asks for.
func (r *Records) LastOf(ctx context.Context, subject string) (uint64, error) {
	return r.lastOf(ctx, []string{r.prefix + subject})
}
