package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// JetStream: what has to survive a node. It answers only when a majority of the
// voters is connected and has a leader, which takes a moment after a start and may
// take for ever in a partition; so Engine.JetStream waits, with a limit, and says
// what it waited for.

const (
	quorumWait  = 5 * time.Second
	quorumLook  = 50 * time.Millisecond
	storeMemory = 256 << 20 // of streams in memory; the default would be three quarters of the machine
)

var errReviving = errors.New("the server reads its store")

// JetStream is for what has to survive a node. An embedded server with a StoreDir has
// it from its start, so that what it keeps is there for other nodes after a restart,
// whatever its own program does. It waits until a majority of the voters is there, at most quorumWait, asking
// for a second each time: a question that was sent before there was a leader may
// never be answered. Errors: ErrNoJetStream with what to change, ErrNoQuorum, and
// ctx's.
func (e *Engine) JetStream(ctx context.Context) (jetstream.JetStream, error) {
	if e.server != nil && e.cfg.StoreDir == "" {
		return nil, fmt.Errorf("%w: this node has no place for it: set StoreDir (--store)", ErrNoJetStream)
	}
	js, err := jetstream.New(e.control.current().nats)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoJetStream, err)
	}
	wait, cancel := context.WithTimeout(ctx, quorumWait)
	defer cancel()
	for {
		one, done := context.WithTimeout(wait, time.Second)
		_, err := js.AccountInfo(one)
		done()
		s := e.shared()
		switch {
		case s != nil && s.reviving.Load(): // it would deny what it has not read yet
			err = errReviving
		case err == nil:
			return js, nil
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
			return nil, fmt.Errorf("%w: it is off on the server: give the nodes with servers a StoreDir (--store), or switch it on at the external NATS", ErrNoJetStream)
		case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return nil, fmt.Errorf("%w: this node's account may not use it: allow it at the NATS server", ErrNoJetStream)
		}
		select {
		case <-wait.Done():
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("%w: JetStream did not answer for %v (voters connected: %v of %d): %w", ErrNoQuorum, quorumWait, e.Votes().Connected, e.Votes().Voters, err)
		case <-time.After(quorumLook):
		}
	}
}
