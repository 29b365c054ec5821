package actors

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// remoteAsk is an Ask of another node, here with the actor that was asked. It
// carries the first outcome back and drops the rest. It counts against the
// actor's RemoteLimit until it is settled or withdrawn, so that a peer cannot
// fill an actor that answers nothing.
type remoteAsk struct {
	askState
	sys  *System
	home Ref   // the pendingAsk on its node
	of   *cell // whose limit counts it; nil: nobody's
}

// refusalText is how many bytes of text a refusal has that replaces an outcome that
// could not be sent.
const refusalText = 512

// isReply reports whether an address is that of an Ask.
func isReply(a Address) bool { return strings.HasPrefix(a.Path, replyPrefix) }

// asker gives the sender that an actor here answers to: for an Ask of another node a
// remoteAsk in place of the address, any other sender unchanged. c is the actor that is
// asked, nil when the message is for no actor.
func (s *System) asker(sender Ref, c *cell) (Ref, error) {
	if sender.at != nil || !isReply(sender.Address()) {
		return sender, nil
	}
	q := &remoteAsk{sys: s, home: sender, of: c}
	if c == nil {
		return Ref{at: q}, nil
	}
	if n := int(c.remoteAsks.Add(1)); n > s.opts.RemoteLimit {
		return Ref{at: q}, fmt.Errorf("%w: %s has not answered %d Asks of other nodes", ErrMailboxFull, c.path, n-1)
	}
	s.mu.Lock()
	s.remoteAsks[sender] = q
	s.mu.Unlock()
	return Ref{at: q}, nil
}

// Reject answers an Ask of another node that could not even be read; any other
// sender hears nothing. It returns err.
func (s *System) Reject(sender Ref, err error) error {
	if r, _ := s.asker(sender, nil); r.at != nil {
		if q, ok := r.at.(asked); ok {
			q.settle(nil, err)
		}
	}
	return err
}

// withdraw forgets an Ask of another node: its asker has given up.
func (s *System) withdraw(sender Ref) {
	s.mu.Lock()
	q := s.remoteAsks[sender]
	s.mu.Unlock()
	if q != nil {
		q.first(q)
	}
}

// first is askState.first; the Ask then no longer counts against its actor's limit.
func (q *remoteAsk) first(self asked) bool {
	if !q.askState.first(self) {
		return false
	}
	if q.of != nil {
		q.of.remoteAsks.Add(-1)
		q.sys.mu.Lock()
		if q.sys.remoteAsks[q.home] == q {
			delete(q.sys.remoteAsks, q.home)
		}
		q.sys.mu.Unlock()
	}
	return true
}

func (q *remoteAsk) address() Address { return q.home.Address() }

func (q *remoteAsk) takenBy(c *cell)      { q.take(q, c) }
func (q *remoteAsk) releasedFrom(c *cell) { q.release(q, c) }

// deliver takes the answer and sends it to the node that asked.
func (q *remoteAsk) deliver(env envelope) error {
	if !q.first(q) {
		q.sys.deadLetter(Ref{at: q}, envelope{msg: env.msg}, ErrUnknown)
		return fmt.Errorf("%w: the Ask was answered or withdrawn before", ErrUnknown)
	}
	return q.sendHome(env)
}

func (q *remoteAsk) settle(answer any, err error) bool {
	if !q.first(q) {
		return false
	}
	if err != nil {
		answer = Refusal{err}
	}
	_ = q.sendHome(envelope{msg: answer}) // a loss is in the dead letters; the asker has a deadline
	return true
}

// sendHome sends the outcome to the node that asked. An outcome that cannot be sent (too
// large, of a type that is not registered) is replaced by a short refusal that says so:
// otherwise the asker would wait for its deadline. The error is of the first attempt.
func (q *remoteAsk) sendHome(env envelope) error {
	err := q.sys.send(q.home, env)
	if err == nil || errors.Is(err, ErrNoRoute) || errors.Is(err, ErrNodeDown) {
		return err
	}
	short := fmt.Errorf("%w: %s", ErrAnswerLost, shorten(err.Error(), refusalText))
	if r, ok := env.msg.(Refusal); ok {
		short = fmt.Errorf("%s", shorten(r.reason().Error(), refusalText))
	}
	_ = q.sys.send(q.home, envelope{msg: Refusal{short}})
	return err
}

// shorten cuts a text to n bytes, at the beginning of a character.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + " ..."
}
