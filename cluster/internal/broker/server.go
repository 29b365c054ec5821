// Package broker starts the embedded NATS server of a node, and connects a node
// to a server.
package broker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/loopmesh/loopmesh/internal/filelock"
)

// Server is a NATS server inside this process. Owned by the node that started it.
type Server struct {
	server *server.Server
	unlock func() error // lets the store folder go; nil without one
}

// ServerConfig is what an embedded server needs to know.
type ServerConfig struct {
	Name     string
	Listen   bool // else it takes clients of this process only
	Host     string
	Port     int    // 0: any
	StoreDir string // of JetStream; "": none
	MaxFrame int    // bytes of a message
}

const (
	embeddedReady = 10 * time.Second
	readyLook     = 100 * time.Millisecond
)

// Start starts a server that listens on nothing, or on cfg.Listen.
func Start(ctx context.Context, cfg ServerConfig, log hclog.Logger) (*Server, error) {
	var err error
	e := &Server{}
	if cfg.StoreDir != "" {
		if e.unlock, err = lockStore(cfg.StoreDir); err != nil {
			return nil, err
		}
	}
	if e.server, err = server.NewServer(serverOptions(cfg)); err != nil {
		e.Stop()
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	out := &serverLog{log: log.Named("nats")}
	e.server.SetLoggerV2(out, log.IsTrace(), false, false)
	e.server.Start()
	if err = e.ready(ctx, out); err == nil {
		err = e.shareNotices()
	}
	if err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// serverOptions sets explicitly what nats-server would otherwise decide against
// a node's interest: signals (it would take SIGTERM and exit), the address
// (0.0.0.0) and the store (one folder in the temporary directory for everybody).
func serverOptions(cfg ServerConfig) *server.Options {
	port := cfg.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return &server.Options{
		ServerName:             cfg.Name,
		Host:                   cfg.Host,
		Port:                   port,
		DontListen:             !cfg.Listen,
		NoSigs:                 true,
		NoLog:                  true,
		DisableJetStreamBanner: true,
		JetStream:              cfg.StoreDir != "",
		StoreDir:               cfg.StoreDir,
		SyncAlways:             true,
		MaxPayload:             int32(cfg.MaxFrame),
		PingInterval:           natsPing,
		MaxPingsOut:            natsPings,
		LameDuckDuration:       200 * time.Millisecond,
		LameDuckGracePeriod:    100 * time.Millisecond,
	}
}

func (e *Server) ready(ctx context.Context, out *serverLog) error {
	limit := embeddedReady
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at))
	}
	for end := time.Now().Add(limit); !e.server.ReadyForConnections(readyLook); {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// Why look: the server only logs that its port is taken and stays unready.
		if text := out.fatal.Load(); text != nil {
			return fmt.Errorf("embedded NATS server: %s", *text)
		}
		if time.Now().After(end) {
			return fmt.Errorf("embedded NATS server was not ready after %v: is the machine overloaded?", limit)
		}
	}
	return context.Cause(ctx)
}

// URL is where other processes connect to; "" when nothing listens.
func (e *Server) URL() string {
	if e == nil || e.server.Addr() == nil {
		return ""
	}
	return e.server.ClientURL()
}

// Stop ends the server and waits until all of it is gone.
func (e *Server) Stop() {
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	if e.unlock != nil {
		_ = e.unlock() // the descriptor is closed either way
	}
}

// lockStore makes the folder and takes its lock.
func lockStore(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "loopmesh.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store folder: %w", err)
	}
	if err := filelock.Take(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("store folder %s is used by another node: give every node its own StoreDir: %w", dir, err)
	}
	return f.Close, nil // closing releases the lock
}
