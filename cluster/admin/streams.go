package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

// The streams in which everything durable lies: one for names and calls for later, one for
// commands. Each is kept by several servers, one of which leads. Without a leader nothing
// durable is written; with a copy that lags, the loss of one more server may end the
// writing. A program sees neither before that happens, so an operator has to.

// Only the two streams of this module are told of. What else a program keeps in the same NATS
// is its own business, and needs rights that a node does not have.
// Stream is a stream of the cluster's store.
type Stream struct {
	ID       string `json:"id"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	// The server that leads it; absent when none does.
	Leader string `json:"leader,omitempty"`
	// Kept by so many servers, the leader included.
	Copies int `json:"copies"`
	// The other servers that keep it.
	Followers []Follower `json:"followers"`
}

// Follower is a copy of a stream.
type Follower struct {
	Server string `json:"server"`
	// It has all that the leader has.
	Current bool `json:"current"`
	// The leader does not reach it.
	Offline bool `json:"offline"`
	// How many operations it has not taken.
	Lag uint64 `json:"lag"`
	// For how long it was not heard of.
	SilentUS int64 `json:"silent_us"`
}

// streamsLimit bounds the question: JetStream waits for a majority longer than a person
// who looks.
const streamsLimit = 2 * time.Second

// streamList is the route of the streams. One that was not made yet is left out: it is made
// when it is first used. Without a majority it is the error ErrNoQuorum, in half of the
// time that is left.
func (s *Server) streamList(ctx context.Context, _ *http.Request) (any, error) {
	limit := streamsLimit
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at)/2)
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	list, err := streamsOf(within, s.node)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%w: the store did not answer for %v", cluster.ErrNoQuorum, limit.Round(time.Millisecond))
	}
	return list, err
}

// The question goes to the servers and to no other node, and to the leader of each stream: who
// follows is known there alone.
// streamsOf asks the store.
func streamsOf(ctx context.Context, node *cluster.Node) (*List[Stream], error) {
	parts := node.Inside(inside.Key{})
	js, err := parts.JetStream(ctx)
	if err != nil {
		return nil, err
	}
	list := newList[Stream]("StreamList")
	for _, name := range []string{records.StreamName(parts.Cluster), records.WorkName(parts.Cluster)} {
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		list.Items = append(list.Items, streamItem(stream.CachedInfo()))
	}
	return list, nil
}

// In a cluster a server that leads nothing at that moment has an empty name as leader; the
// list of followers then has all copies but the one that was asked. Copies is how many there
// should be, so a reader can tell whether one is missing altogether.
// streamItem describes a stream. A server that is alone has no cluster and leads itself.
func streamItem(info *jetstream.StreamInfo) Stream {
	d := Stream{ID: info.Config.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes, Copies: info.Config.Replicas, Followers: []Follower{}}
	if info.Cluster == nil || info.Cluster.Name == "" {
		d.Leader = "alone"
		return d
	}
	d.Leader = info.Cluster.Leader
	for _, r := range info.Cluster.Replicas {
		d.Followers = append(d.Followers, Follower{Server: r.Name, Current: r.Current, Offline: r.Offline, Lag: r.Lag, SilentUS: r.Active.Microseconds()})
	}
	return d
}
