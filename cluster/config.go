package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/trace"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/logbridge"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Config describes a node. The zero value works: a NATS server inside the
// process that listens on nothing, and a node with a random name.
type Config struct {
	// Name is the node's stable name, unique in the cluster; default the one in Keys,
	// else "node-" and a random number. Letters, digits, - and _.
	Name string
	// Cluster keeps clusters on one NATS apart; default the one in Keys, else
	// "loopmesh". With Keys it is a NATS account of its own.
	Cluster string

	// URL is an external NATS to use instead of an embedded one: one address or
	// several of one NATS cluster, separated by commas.
	URL string
	// Join are addresses (host:port) of other nodes' embedded servers; the node is
	// then a client of them and embeds nothing. Give all voters: it connects to
	// another one when its own is gone. Addresses of servers that are not connected
	// to each other are refused.
	Join []string
	// AwaitNATS makes Start wait while NATS cannot be reached, as long as its ctx allows,
	// and say so in the log, instead of ending with ErrDisconnected. What a new attempt
	// does not change ends it at once: keys that are refused, a wrong certificate. Loops
	// that have to run meanwhile are made without a node (package loopnode) and handed
	// over in Prepare (Node.Host).
	AwaitNATS bool
	// Beside makes the node use the embedded server of another node in this
	// process, through memory.
	Beside *Node

	// Listen is where the embedded server takes clients (host:port, port 0 for any);
	// default: nowhere. Without a host it is the loopback address. Beyond loopback it
	// takes Keys, or Insecure.
	Listen string
	// Voter makes the embedded server one of Routes: one NATS cluster of 3 or 5
	// servers, which goes on while more than half of them live. It needs Routes.
	Voter bool
	// Routes are the addresses (host:port) at which the voters reach each other, this
	// one included: 1, 3 or 5, the same on every voter.
	Routes []string
	// RouteListen is which of Routes is this node; default: the one whose host is the
	// node's name, or an address of this machine.
	RouteListen string
	// StoreDir is the folder for what has to survive the node (JetStream). One node
	// per folder: a second one is refused, and so is one of another name or cluster.
	// With it the server has JetStream, for all nodes that use the server; see packages
	// names and durable.
	StoreDir string
	// StoreSync is for how long what was stored may be with the operating system only, before
	// it is on the disk. 0, the default: it is on the disk when the request is answered. With
	// a second, say, a store takes several times as many requests; it loses nothing when
	// processes are killed, and the last second when the machine loses its power. It is the
	// server's, so it belongs to a node with StoreDir; at most a minute.
	StoreSync time.Duration

	// Keys is a key folder of this node, made by package keys ('loopmesh keys init').
	// A server with keys takes only nodes of its cluster, and lets each send in its
	// own name only. New keys in the folder are used without a restart.
	Keys string
	// Insecure allows Listen and Routes beyond loopback without Keys: whoever reaches
	// the port can do everything, in every name. It is warned about every hour.
	Insecure bool
	// Allow are the rights of every other node on this one where there are no keys,
	// see keys.Grants; default: call:*, publish:*, timer:*, write, and admin as long as only this
	// machine reaches the server.
	Allow []string

	// Credentials is a NATS credentials file for URL and Join.
	Credentials string
	// NKey is a file with the seed of an nkey, for URL.
	NKey string
	// User and Password are for URL.
	User, Password string
	// TLS is for URL and Join, with a certificate of the node where the server wants
	// one; default: as the URL says (tls://).
	TLS *tls.Config

	// Logger gets what the node logs, or Slog does: set one of them. With neither,
	// warnings and errors go to stderr under the name "cluster".
	Logger hclog.Logger
	Slog   *slog.Logger
	// Tracing gets spans of calls (Function.Call), on the node that calls and on the one
	// that runs the function, and of durable calls and commands when they run. The
	// caller's span is the one in its ctx; a function finds its own in its ctx. nil makes
	// none. Nodes of versions before this field do not understand a call with a span.
	Tracing trace.TracerProvider

	// Prepare is called by Start when the name belongs to the node and nobody has
	// heard of it yet. Loops that are made here exist when others first hear of the
	// node: no call meets a node without its loops. An error ends the start.
	Prepare func(ctx context.Context, n *Node) error
	// Lost is called once, on a goroutine of its own, when a newer node has taken this
	// node's name while this one was stopped or cut off. The node serves nobody any
	// more, its calls have failed, and its addresses are no longer valid; the program
	// should end. Lost may close the node. nil: the node closes itself, see Node.Done.
	Lost func(error)

	// Heartbeat is how often a node says that it lives; default 1 s.
	Heartbeat time.Duration
	// DeadAfter is after how long a silent node counts as dead; default 3 s, at least
	// three heartbeats. A node whose connection was closed counts as dead much sooner.
	DeadAfter time.Duration
	// CallTimeout bounds calls whose ctx has no deadline; default 30 s.
	CallTimeout time.Duration
	// MaxPayload bounds arguments and results in bytes; default 1 MiB.
	MaxPayload int
	// MaxInbound is how many calls of other nodes may be unfinished on each loop, and
	// how many of their calls without an answer may run on it. More calls are refused
	// with ErrBusy; calls without an answer wait with their senders. Default 10,000.
	MaxInbound int
	// MaxTimers is how many calls for later (CallLater, CallAt) of other nodes may wait
	// here; more are refused with ErrBusy. Default 100,000.
	MaxTimers int
	// OnLoss is told of calls without an answer, and of messages of actors, that left
	// this node and did not run, or may not have run. It is called on a goroutine of
	// the node, one after another. Stats counts them either way (Lost, Refusals).
	OnLoss func(Loss)
	// Actors is the actor system that other nodes reach through this node; it can
	// be of one node only. nil makes one, see Node.Actors.
	Actors *actors.System
}

const (
	defaultCluster     = "loopmesh"
	defaultHeartbeat   = time.Second
	defaultDeadAfter   = 3 * time.Second
	defaultCallTimeout = 30 * time.Second
	defaultMaxInbound  = 10_000
	defaultMaxTimers   = 100_000
	inboundBytes       = 64 << 20 // arguments of unfinished calls of one loop; of all timers
	maxHeartbeat       = time.Hour
	maxPayloadLimit    = 8 << 20 // what nats-server advises as the most
)

// withKeys takes from the key folder what Config does not set, and makes the logger,
// which every later step may use. It refuses a Config without a name where the name has
// to be the same at the next start.
func (c Config) withKeys() (Config, error) {
	if c.Keys != "" {
		id, err := keys.Load(c.Keys, c.Name)
		if err != nil {
			return c, badConfig("Keys: %w", err)
		}
		if c.Name == "" {
			c.Name = id.Node
		}
		if c.Cluster == "" {
			c.Cluster = id.Cluster
		}
	}
	log, err := logbridge.Logger(c.Logger, c.Slog, "cluster")
	if err != nil {
		return c, badConfig("%w", err)
	}
	c.Logger, c.Slog = log, nil
	if c.Name == "" && (c.Voter || c.StoreDir != "") {
		return c, badConfig("Voter and StoreDir need a Name: it has to be the same at the next start")
	}
	return c, nil
}

// Check says whether Start would refuse c before it opens anything: it reads the files that c
// names, asks nobody, and changes nothing. What only a start can find out (a port or a
// folder in use, voters with another list, keys that the servers do not accept) is not
// checked. It does not wait; any goroutine. Errors: ErrConfig, ErrStore.
func (c Config) Check() error {
	c, err := c.checked()
	if err != nil {
		return err
	}
	return engine.Check(c.engine())
}

// checked is c with everything that it does not set, when this package has nothing against
// it.
func (c Config) checked() (Config, error) {
	c, err := c.withKeys()
	if err != nil {
		return c, err
	}
	c = c.withDefaults()
	return c, c.validate()
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = fmt.Sprintf("node-%08x", uint32(randomNumber()))
	}
	if c.Cluster == "" {
		c.Cluster = defaultCluster
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = defaultHeartbeat
	}
	if c.DeadAfter == 0 {
		c.DeadAfter = max(defaultDeadAfter, 3*c.Heartbeat)
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = defaultCallTimeout
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = wire.MaxPayload
	}
	if c.MaxInbound == 0 {
		c.MaxInbound = defaultMaxInbound
	}
	if c.MaxTimers == 0 {
		c.MaxTimers = defaultMaxTimers
	}
	return c
}

// validate refuses what could only fail later, and says what to write instead.
func (c Config) validate() error {
	switch {
	case !wire.ValidName(c.Name):
		return badConfig("Name is %q: use up to %d letters, digits, - and _", c.Name, wire.MaxNode)
	case !wire.ValidName(c.Cluster):
		return badConfig("Cluster is %q: use up to %d letters, digits, - and _", c.Cluster, wire.MaxNode)
	case c.Beside != nil && c.Beside.link.Closing():
		return badConfig("Beside is node %s, which is closed: give a node that lives", c.Beside.name)
	case c.AwaitNATS && c.embeds():
		return badConfig("AwaitNATS is for a NATS server of others, but neither URL nor Join is set")
	case c.Heartbeat > maxHeartbeat:
		return badConfig("Heartbeat is %v: the most is %v", c.Heartbeat, maxHeartbeat)
	case c.Heartbeat < 0 || c.DeadAfter < 0 || c.CallTimeout < 0 || c.MaxPayload < 0 || c.MaxInbound < 0 || c.MaxTimers < 0 || c.StoreSync < 0:
		return badConfig("a negative duration or limit: use 0 for the default")
	case c.DeadAfter < 3*c.Heartbeat:
		return badConfig("DeadAfter %v is less than three heartbeats of %v: live nodes would be called dead", c.DeadAfter, c.Heartbeat)
	case c.MaxPayload > maxPayloadLimit:
		return badConfig("MaxPayload is %d: the most is %d, larger data needs a stream", c.MaxPayload, maxPayloadLimit)
	}
	return nil
}

// engine is the part of the configuration that says how to reach NATS.
func (c Config) engine() engine.Config {
	e := engine.Config{
		Node: c.Name, Cluster: c.Cluster, URL: c.URL, Join: c.Join,
		Listen: c.Listen, Voter: c.Voter, Routes: c.Routes, RouteListen: c.RouteListen, StoreDir: c.StoreDir, StoreSync: c.StoreSync,
		Keys: c.Keys, Insecure: c.Insecure, Allow: c.Allow,
		Credentials: c.Credentials, NKey: c.NKey, User: c.User, Password: c.Password, TLS: c.TLS,
		MaxPayload: c.MaxPayload + wire.Overhead,
	}
	if c.Beside != nil {
		e.Beside = c.Beside.engine
	}
	return e
}

// embeds reports whether the node uses an embedded server of this process.
func (c Config) embeds() bool { return c.URL == "" && len(c.Join) == 0 }

func badConfig(format string, args ...any) error { return fault.Config(format, args...) }
