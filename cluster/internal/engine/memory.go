package engine

import (
	"context"
	"net"

	"github.com/nats-io/nats.go"
)

// A test wants to disturb the connections of a node. Where they go over TCP it puts a proxy
// between the node and the server. Those in memory have no address that a proxy could take
// the place of, so the one who starts the node says what they pass through. Why in the ctx and
// not in Config: it is no setting of a node, and no program outside of this module can say it.

// throughKey is the key of a ctx for what connections in memory pass through.
type throughKey struct{}

// Through is a ctx for Open, so that the engine's connections in memory are what by makes of
// them, at the start and at each reconnect. An error of by is one of the connect.
func Through(ctx context.Context, by func(net.Conn) (net.Conn, error)) context.Context {
	return context.WithValue(ctx, throughKey{}, by)
}

// through is a way to a server in memory with something between.
type through struct {
	server nats.InProcessConnProvider
	by     func(net.Conn) (net.Conn, error)
}

// InProcessConn is called by nats.go for each connect.
func (t through) InProcessConn() (net.Conn, error) {
	c, err := t.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	return t.by(c)
}
