package records

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Who sends for those that wait. The batches of this process that name one line to Batch form
// it. No goroutine belongs to it: one of the callers leads. The leader sends one batch for
// those that go together (together.go) and waits for its answer, which it tells to all of
// them; then whoever is first in the line leads. Who comes to an empty line leads at once.
//
// A caller whose ctx ends leaves. Who only waits is taken out of the line, and nothing of it
// is sent. Who is under way does not know what became of it. When the leader leaves, another
// one of the same batch waits for the answer in its place; when none is left, nobody needs
// the answer, and the line goes on. So the time of one caller never ends the wait of another.
//
// Invariant: a line has a leader as long as anybody is in it. It is one of those under way,
// or the first of those that wait when nothing is.

// lines are those of one stream, by name. A line in which nobody is is not kept.
type lines struct {
	sync.Mutex
	by map[string]*line
}

// line is who goes one after another. Guarded by its lines.
type line struct {
	name     string
	queue    []*member // that wait, in the order of arrival
	away     *flight   // under way; nil: nothing is
	lead     *member
	answered int // batches, however
}

// flight is a batch under way. members is guarded by lines, the rest belongs to the leader.
type flight struct {
	members []*member // that wait for its answer
	merged  bool      // it was made of several
	writes  []Write
	sent    *sent // nil until it is
	end     time.Time
}

// batch sends the writes, with those of others in the line, and returns what became of these:
// an error of the server, of the connection, or of ctx.
func (ls *lines) batch(ctx context.Context, name string, writes []Write, bytes int, send func([]Write) (*sent, error)) error {
	m := &member{ctx: ctx, writes: writes, bytes: bytes, woken: make(chan struct{}, 1)}
	l := ls.join(name, m)
	for {
		select {
		case <-m.woken:
		case <-ctx.Done():
		}
		f, over := ls.turn(l, m)
		switch {
		case over && f != nil:
			f.sent.end()
			return m.err
		case over:
			return m.err
		case f == nil:
			continue
		}
		if err := f.fly(ctx, send); !errors.Is(err, errLeft) {
			f.sent.end()
			ls.landed(l, f, err)
		}
	}
}

// fly sends a batch, unless an earlier leader has, and waits for its answer. It waits no
// longer than an attempt: a leader of the stream that died does not answer, and all that wait
// find out sooner by asking again.
func (f *flight) fly(ctx context.Context, send func([]Write) (*sent, error)) (err error) {
	if f.sent == nil {
		f.end = time.Now().Add(attempt)
		if f.sent, err = send(f.writes); err != nil {
			return err
		}
	}
	late := time.NewTimer(time.Until(f.end))
	defer late.Stop()
	return f.sent.wait(ctx, late.C)
}

// join has m wait for its turn.
func (ls *lines) join(name string, m *member) *line {
	ls.Lock()
	defer ls.Unlock()
	l := ls.by[name]
	if l == nil {
		l = &line{name: name}
		ls.by[name] = l
	}
	m.joined = l.answered
	l.queue = append(l.queue, m)
	if l.lead == nil {
		ls.pass(l)
	}
	return l
}

// turn says what m has to do: nothing more (over; the flight is one that nobody waits for any
// more), to lead the flight, or to wait.
func (ls *lines) turn(l *line, m *member) (f *flight, over bool) {
	ls.Lock()
	defer ls.Unlock()
	switch {
	case m.over:
		return nil, true
	case m.ctx.Err() != nil:
		m.over, m.err = true, l.late(m)
		return ls.leave(l, m), true
	case l.lead != m:
		return nil, false
	case l.away == nil:
		// Who leads goes, and of the others those whose ctx has not ended: they have not heard it yet.
		staying := slices.DeleteFunc(slices.Clone(l.queue), func(o *member) bool { return o != m && o.ctx.Err() != nil })
		group, writes := together(staying)
		l.away = &flight{members: group, merged: len(group) > 1, writes: writes}
		l.queue = slices.DeleteFunc(l.queue, func(o *member) bool { return slices.Contains(group, o) })
	}
	return l.away, false
}

// late is the error of a member whose time is over. One that waited while others were
// answered has not to say that nobody answers. Locked.
func (l *line) late(m *member) error {
	switch {
	case l.answered == m.joined:
		return context.Cause(m.ctx)
	case slices.Contains(l.queue, m):
		return fmt.Errorf("%w: nothing was written", ErrBehind)
	}
	return fmt.Errorf("%w: %w", ErrLate, context.Cause(m.ctx))
}

// landed tells how a batch ended, and lets the next one lead. One that was made of several
// and was refused says nothing about any of them: they go to the head of the line again.
func (ls *lines) landed(l *line, f *flight, err error) {
	ls.Lock()
	defer ls.Unlock()
	l.away = nil
	if err == nil || refused(err) {
		l.answered++
	}
	if f.merged && refused(err) {
		for _, m := range f.members {
			m.alone = true
		}
		l.queue = append(f.members, l.queue...)
		ls.pass(l)
		return
	}
	for _, m := range f.members {
		m.ended(err)
	}
	if err == nil {
		late := outdated(l.queue, f.writes)
		l.queue = slices.DeleteFunc(l.queue, func(m *member) bool { return slices.Contains(late, m) })
		for _, m := range late {
			m.ended(fmt.Errorf("%w: a batch before it was first", ErrConflict))
		}
	}
	ls.pass(l)
}

// ended says how it ended. Locked.
func (m *member) ended(err error) {
	m.over, m.err = true, err
	m.wake()
}

// leave takes m out of the line, and tells the flight of which it was the last. Locked.
func (ls *lines) leave(l *line, m *member) (empty *flight) {
	is := func(o *member) bool { return o == m }
	l.queue = slices.DeleteFunc(l.queue, is)
	if l.away != nil {
		if l.away.members = slices.DeleteFunc(l.away.members, is); len(l.away.members) == 0 {
			empty, l.away = l.away, nil
		}
	}
	if l.lead == m {
		ls.pass(l)
	}
	return empty
}

// pass hands the lead on. Locked.
func (ls *lines) pass(l *line) {
	switch {
	case l.away != nil:
		l.lead = l.away.members[0]
	case len(l.queue) > 0:
		l.lead = l.queue[0]
	default:
		l.lead = nil
		delete(ls.by, l.name)
		return
	}
	l.lead.wake()
}

// wake has m look at its line.
func (m *member) wake() {
	select {
	case m.woken <- struct{}{}:
	default:
	}
}

// refused: nothing of the batch was stored, and a part of it may be.
func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) || errors.Is(err, nats.ErrMaxPayload)
}
