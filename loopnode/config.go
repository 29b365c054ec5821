package loopnode

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/logbridge"
)

// Config describes a loop. The zero value works.
type Config struct {
	// Name is how logs, addresses and other nodes call the loop: what can be the
	// path of an actors.Address. Default "loop-N".
	Name string
	// Logger gets what asyncio logs, or Slog does: set one of them. With neither,
	// warnings and errors go to stderr under the name "loopmesh".
	Logger hclog.Logger
	Slog   *slog.Logger
	// Debug turns the checks of asyncio's debug mode on. LOOPMESH_DEBUG=1 does too.
	Debug bool
	// SlowCallback is the duration from which on debug mode logs a callback as slow;
	// default 100 ms.
	SlowCallback time.Duration
	// ExceptionHandler gets what nobody else handles; nil is the default handler.
	ExceptionHandler ExceptionHandler
	// Executor runs blocking functions; nil is a pool made at the first use.
	Executor Executor
	// MaxWorkers bounds that pool; 0 is min(32, CPUs+4), asyncio's number.
	MaxWorkers int
	// Resolver looks names up; nil is net.DefaultResolver.
	Resolver Resolver
	// Stuck is the duration after which the watchdog names a callback that has not
	// returned, while it is stuck: after this long at the earliest, and a quarter of a
	// second later at the latest (or half of it later, when that is less). Default 5 s,
	// negative switches it off.
	Stuck time.Duration
	// Actors is the system that the loop, its transports and its children are
	// actors of; nil is actors.Default().
	Actors *actors.System
	// ProfileLabels names the goroutine of each task, and of the loop itself, in
	// profiles and goroutine dumps (labels "loop" and "task"). It costs about a
	// microsecond per task, nothing per step.
	ProfileLabels bool
	// Backend replaces clock and poller; see package looptest.
	Backend Backend
}

const (
	defaultSlowCallback = 100 * time.Millisecond
	defaultStuck        = 5 * time.Second
	debugEnv            = "LOOPMESH_DEBUG"
)

// defaultLogger is the logger of loops that were given none.
func defaultLogger() hclog.Logger {
	log, _ := logbridge.Logger(nil, nil, loggerName) // fails only for two loggers
	return log
}

const loggerName = "loopmesh"

var loopCount atomic.Int64

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = fmt.Sprintf("loop-%d", loopCount.Add(1))
	}
	c.Logger, _ = logbridge.Logger(c.Logger, c.Slog, loggerName) // validate has refused two loggers
	c.Slog = nil
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.SlowCallback == 0 {
		c.SlowCallback = defaultSlowCallback
	}
	if c.Stuck == 0 {
		c.Stuck = defaultStuck
	}
	if v := os.Getenv(debugEnv); v != "" && v != "0" {
		c.Debug = true
	}
	return c
}

// validate refuses what could only fail later.
func (c Config) validate() error {
	if c.Name != "" {
		if err := (actors.Address{Path: c.Name}).Validate(); err != nil {
			return invalid("Config.Name is %q, which cannot be part of an address: %w", c.Name, err)
		}
	}
	if _, err := logbridge.Logger(c.Logger, c.Slog, loggerName); err != nil {
		return invalid("Config: %w", err)
	}
	switch {
	case c.SlowCallback < 0:
		return invalid("Config.SlowCallback is %v; use a duration of 0 or more", c.SlowCallback)
	case c.MaxWorkers < 0:
		return invalid("Config.MaxWorkers is %d; use 0 for the default or a positive number", c.MaxWorkers)
	}
	return nil
}

var _ io.Closer = (*Loop)(nil)
