package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/loopnode"
)

// How a message travels. Its sender's node asks the presence of the cluster where the addressed
// user is (groups.Where), and calls gateway.push on that node. There it is written to
// the connection, and the call ends when the client has said that it has the message. Only
// then its sender is told that it was accepted. Whatever goes wrong on the way, the message
// is sent again: to where the user is by then, under the same id, which the client has to
// know it by when it has it already.
//
// So nothing is kept on a node that could be lost with it. What is not accepted is still with
// its sender, which sends it again; what is accepted is with the client it was for.

// parcel is a message on its way from node to node.
type parcel struct {
	From string `json:"from"`
	To   string `json:"to"`
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Why a message does not arrive now. They travel between nodes.
var (
	errNotHere = cluster.RegisterError("gateway.nothere", errors.New("the user is not here"))
	errBusy    = cluster.RegisterError("gateway.busy", errors.New("the user has too many messages to confirm, or does not read"))
)

// push gives a message to a client of the node that it is called on.
var push = cluster.Func("gateway.push", func(ctx context.Context, in parcel) (struct{}, error) {
	g, err := gateways.From(ctx)
	if err != nil || g == nil {
		return struct{}{}, errNotHere
	}
	c := g.users[in.To]
	if c == nil {
		return struct{}{}, errNotHere
	}
	return struct{}{}, c.deliver(ctx, in)
})

// deliver writes a message to the client and waits for its receipt.
func (c *client) deliver(ctx context.Context, in parcel) error {
	if c.slow != nil || c.receipts.count() >= c.g.limits.posts {
		return errBusy
	}
	f, first := c.receipts.expect(c.t.Loop(), key(in.From, in.ID))
	if first { // a second attempt waits for the receipt of the first one
		c.tell(event{Is: "message", From: in.From, ID: in.ID, Text: in.Text})
	}
	_, err := f.Await(ctx)
	c.receipts.drop(key(in.From, in.ID), f)
	return err
}

// Times between two attempts.
const (
	pauseFirst = 20 * time.Millisecond
	pauseMost  = 200 * time.Millisecond
)

// post gives a message to its user and waits for the receipt. nil: the user's client has it.
// An error: it may have it, and nobody has said so. Any node can do that, also one that
// has no clients: a service that has something to tell to a user.
func post(ctx context.Context, node *cluster.Node, l limits, p parcel) error {
	ctx, cancel := context.WithTimeout(ctx, l.accept)
	defer cancel()
	begun, seen := time.Now(), false
	for pause := pauseFirst; ; pause = min(2*pause, pauseMost) {
		err := attempt(ctx, node, l, p)
		if err == nil {
			return nil
		}
		here := !errors.Is(err, errNotHere)
		seen = seen || here
		if !seen && time.Since(begun) > l.offline {
			return fmt.Errorf("%s is not online", p.To)
		}
		if loopnode.Sleep(ctx, pause) != nil {
			return fmt.Errorf("%s has not confirmed it: %w", p.To, err)
		}
	}
}

// attempt calls the node that the user is on.
func attempt(ctx context.Context, node *cluster.Node, l limits, p parcel) error {
	at, ok := groups.Where(node, userKey(p.To))
	if !ok {
		return errNotHere
	}
	ref, err := node.Ref(at + "/" + loopName)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.receipt)
	defer cancel()
	_, err = push.Via(node).Call(ctx, ref, p)
	return err
}

// receipts are the messages that a client was sent and has not confirmed, with those who
// wait for it. Owned by the loop.
type receipts map[string][]*loopnode.Future[struct{}]

// key is what a message is known by: ids are their sender's own.
func key(from, id string) string { return from + "/" + id }

func (r receipts) count() (n int) {
	for _, waiting := range r {
		n += len(waiting)
	}
	return n
}

// expect waits for a receipt; first: nobody else does.
func (r receipts) expect(l *loopnode.Loop, key string) (f *loopnode.Future[struct{}], first bool) {
	f = loopnode.NewFuture[struct{}](l)
	r[key] = append(r[key], f)
	return f, len(r[key]) == 1
}

// confirm wakes those who wait.
func (r receipts) confirm(key string) {
	for _, f := range r[key] {
		if !f.Done() {
			_ = f.SetResult(struct{}{}) // it is not done
		}
	}
	delete(r, key)
}

// drop forgets one that does not wait any more.
func (r receipts) drop(key string, f *loopnode.Future[struct{}]) {
	left := r[key][:0:0]
	for _, other := range r[key] {
		if other != f {
			left = append(left, other)
		}
	}
	if r[key] = left; len(left) == 0 {
		delete(r, key)
	}
}

// fail tells all who wait that there will be no receipt.
func (r receipts) fail(err error) {
	for _, waiting := range r {
		for _, f := range waiting {
			if !f.Done() {
				_ = f.SetException(err) // it is not done
			}
		}
	}
	clear(r)
}
