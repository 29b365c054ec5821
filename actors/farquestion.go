package actors

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// farQuestion is an Ask of another node, here with the one who was asked. It
// carries the first outcome home and drops the rest.
type farQuestion struct {
	sys     *System
	home    Ref
	settled atomic.Bool
}

// asker makes of a sender elsewhere what an actor here answers to.
func (s *System) asker(sender Ref) Ref {
	if sender.at != nil || !strings.HasPrefix(sender.Address().Path, questionPrefix) {
		return sender
	}
	return Ref{at: &farQuestion{sys: s, home: sender}}
}

// Reject answers an Ask of another node that could not even be read; any other
// sender hears nothing. It returns why.
func (s *System) Reject(sender Ref, why error) error {
	if q, ok := s.asker(sender).at.(asked); ok {
		q.settle(nil, why)
	}
	return why
}

func (q *farQuestion) address() Address { return q.home.Address() }

func (q *farQuestion) isSettled() bool { return q.settled.Load() }

// deliver is the answer on its way.
func (q *farQuestion) deliver(env envelope) error {
	if !q.settled.CompareAndSwap(false, true) {
		q.sys.deadLetter(Ref{at: q}, envelope{msg: env.msg}, ErrUnknown)
		return fmt.Errorf("%w: the question was answered before", ErrUnknown)
	}
	return q.sys.send(q.home, envelope{msg: env.msg, sender: env.sender})
}

func (q *farQuestion) settle(answer any, err error) bool {
	if q.settled.Load() {
		return false
	}
	if err != nil {
		answer = Refusal{err}
	}
	return q.deliver(envelope{msg: answer}) == nil
}
