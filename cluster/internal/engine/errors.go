package engine

import (
	"errors"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
)

// The errors of this package, to be tested with errors.Is.
var (
	// ErrConfig: a Config that cannot work.
	ErrConfig = fault.ErrConfig
	// ErrDisconnected: no connection to NATS.
	ErrDisconnected = fault.ErrDisconnected
	// ErrDenied: the server does not accept the node's keys, or TLS with it failed.
	ErrDenied = errors.New("the NATS server refuses this node")
	// ErrTooOld: the server lacks what a node needs.
	ErrTooOld = errors.New("the NATS server is too old")
	// ErrSeparate: several addresses belong to servers that are not connected.
	ErrSeparate = errors.New("the addresses belong to separate NATS servers")
	// ErrStore: the store folder is in use, or belongs to another node or cluster.
	ErrStore = errors.New("the store folder cannot be used")
	// ErrNoJetStream: JetStream is off, or this node may not use it.
	ErrNoJetStream = errors.New("JetStream cannot be used")
	// ErrNoQuorum: JetStream did not answer: no majority of the voters can be reached, or
	// they have no leader.
	ErrNoQuorum = errors.New("no majority of the voters")
	// ErrClosed: the engine has been closed.
	ErrClosed = errors.New("the node has been closed")
)

func badConfig(format string, args ...any) error { return fault.Config(format, args...) }
