package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cmd/node/admin"
	"github.com/loopmesh/loopmesh/cmd/node/chat"
)

// resident is a node of this program with what it serves.
type resident struct {
	node  *cluster.Node
	admin *admin.Server
	room  *chat.Room // nil: no chat
}

// settle is what a resident needs.
type settle struct {
	cfg    cluster.Config
	loops  int    // io-0 and up
	chat   string // address; "": no chat
	socket string // "": where the commands look for it
}

// move starts a node with everything. It waits until it serves.
func move(ctx context.Context, s settle) (*resident, error) {
	node, err := cluster.Start(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	r := &resident{node: node}
	if err := r.furnish(ctx, s); err != nil {
		r.leave(context.Background())
		return nil, err
	}
	return r, nil
}

func (r *resident) furnish(ctx context.Context, s settle) (err error) {
	for i := range s.loops {
		if _, err := r.node.NewLoop(fmt.Sprintf("io-%d", i)); err != nil {
			return err
		}
	}
	if s.chat != "" {
		if r.room, err = chat.Open(ctx, r.node, s.chat); err != nil {
			return fmt.Errorf("chat of node %s: %w", r.node.Name(), err)
		}
	}
	if r.admin, err = admin.Open(r.node, s.cfg.Logger.Named("admin")); err != nil {
		return err
	}
	if s.socket == "" {
		s.socket = admin.Path(r.node.Name())
	}
	return r.admin.Listen(s.socket)
}

// leave takes no new calls, waits for those that run until ctx ends, and closes
// the node.
func (r *resident) leave(ctx context.Context) error {
	if r.admin != nil {
		r.admin.Close()
	}
	return r.node.Stop(ctx)
}

// politely is how long calls that run may take when a node leaves.
const politely = 10 * time.Second

// depart takes leave of all, the last one first: the first one may carry the
// others' NATS.
func depart(all []*resident) error {
	ctx, cancel := context.WithTimeout(context.Background(), politely)
	defer cancel()
	var failed []error
	for i := len(all) - 1; i >= 0; i-- {
		failed = append(failed, all[i].leave(ctx))
	}
	return errors.Join(failed...)
}

// newLog writes to stderr, without colour.
func newLog(errs io.Writer, level hclog.Level) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "loopmesh", Output: errs, Level: level, Color: hclog.ColorOff})
}
