package cluster

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/broker"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Config describes a node. The zero value works: a NATS server inside the
// process that listens on nothing, and a node with a random name.
type Config struct {
	// Name is the node's stable name, unique in the cluster; default "node-" and a
	// random number. Letters, digits, - and _.
	Name string
	// Cluster keeps clusters on one NATS apart; default "loopmesh".
	Cluster string
	// URL is an external NATS to use instead of an embedded one.
	URL string
	// Join are addresses (host:port) of other nodes' embedded servers; the node is
	// then a client of them and embeds nothing.
	Join []string
	// Beside makes the node use the embedded server of another node in this
	// process, through memory.
	Beside *Node
	// Listen is where the embedded server takes clients (host:port, port 0 for any);
	// default: nowhere. Without a host it is the loopback address.
	Listen string
	// Credentials is a NATS credentials file for URL and Join.
	Credentials string
	// StoreDir is the folder of the embedded JetStream; default: no JetStream.
	// One node per folder; a second one is refused.
	StoreDir string
	// Logger gets everything; default hclog.Default named "cluster".
	Logger hclog.Logger

	// Heartbeat is how often a node says that it lives; default 1 s.
	Heartbeat time.Duration
	// DeadAfter is after how long a silent node counts as dead; default 3 s.
	// A node that closed its connection is found out much sooner.
	DeadAfter time.Duration
	// CallTimeout bounds calls whose ctx has no deadline; default 30 s.
	CallTimeout time.Duration
	// MaxPayload bounds arguments and results in bytes; default 1 MiB.
	MaxPayload int
	// MaxInbound is how many calls of other nodes may be unfinished here; more are
	// refused with ErrBusy. Default 10,000.
	MaxInbound int
	// Actors is the actor system that other nodes reach through this node; it can
	// be of one node only. nil makes one, see Node.Actors.
	Actors *actors.System
	// Transports finds connections that other nodes write to, close or abort;
	// default: those of package transportactors that were asked for a Ref.
	Transports TransportDirectory
}

const (
	defaultCluster     = "loopmesh"
	defaultHeartbeat   = time.Second
	defaultDeadAfter   = 3 * time.Second
	defaultCallTimeout = 30 * time.Second
	defaultMaxInbound  = 10_000
	maxHeartbeat       = time.Hour
	maxPayloadLimit    = 8 << 20 // what nats-server advises as the most
)

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = fmt.Sprintf("node-%08x", uint32(randomNumber()))
	}
	if c.Cluster == "" {
		c.Cluster = defaultCluster
	}
	if c.Logger == nil {
		c.Logger = hclog.Default().Named("cluster")
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
	if c.Transports == nil {
		c.Transports = TransportLookup(processTransports)
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
	case c.sources() > 1:
		return badConfig("URL, Join and Beside exclude each other: set one, or none for an embedded server")
	case c.sources() == 1 && (c.Listen != "" || c.StoreDir != ""):
		return badConfig("Listen and StoreDir belong to an embedded server, but URL, Join or Beside is set: remove one side")
	case c.Beside != nil && c.Beside.link.Closing():
		return badConfig("Beside is node %s, which is closed: give a node that lives", c.Beside.name)
	case c.Heartbeat > maxHeartbeat:
		return badConfig("Heartbeat is %v: the most is %v", c.Heartbeat, maxHeartbeat)
	case c.Heartbeat < 0 || c.DeadAfter < 0 || c.CallTimeout < 0 || c.MaxPayload < 0 || c.MaxInbound < 0:
		return badConfig("a negative duration or limit: use 0 for the default")
	case c.DeadAfter < 2*c.Heartbeat:
		return badConfig("DeadAfter %v is less than two heartbeats of %v: live nodes would be called dead", c.DeadAfter, c.Heartbeat)
	case c.MaxPayload > maxPayloadLimit:
		return badConfig("MaxPayload is %d: the most is %d, larger data needs a stream", c.MaxPayload, maxPayloadLimit)
	}
	if err := c.checkAddresses(); err != nil {
		return err
	}
	_, _, err := c.listenAddress()
	return err
}

// checkAddresses refuses addresses and files that cannot be used.
func (c Config) checkAddresses() error {
	if c.URL != "" {
		if err := broker.CheckURLs("URL", c.URL); err != nil {
			return err
		}
	}
	if len(c.Join) > 0 {
		if err := broker.CheckURLs("Join", c.urls()); err != nil {
			return err
		}
	}
	if c.Credentials != "" {
		if _, err := os.Stat(c.Credentials); err != nil {
			return badConfig("Credentials: %w", err)
		}
	}
	return nil
}

// server is the configuration of the embedded server.
func (c Config) server() broker.ServerConfig {
	host, port, _ := c.listenAddress() // validate has read it
	return broker.ServerConfig{
		Name: c.Name, Listen: c.Listen != "", Host: host, Port: port,
		StoreDir: c.StoreDir, MaxFrame: c.MaxPayload + wire.Overhead,
	}
}

// sources counts the fields that say where NATS is.
func (c Config) sources() int {
	n := 0
	for _, set := range []bool{c.URL != "", len(c.Join) > 0, c.Beside != nil} {
		if set {
			n++
		}
	}
	return n
}

// listenAddress splits Listen. Nothing listens beyond loopback unless the host
// says so.
func (c Config) listenAddress() (host string, port int, err error) {
	if c.Listen == "" {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(c.Listen)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, badConfig("Listen is %q: use host:port, for example 127.0.0.1:4222", c.Listen)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return host, port, nil
}

// urls is where the client connects to; empty for an embedded server.
func (c Config) urls() string {
	if c.URL != "" {
		return c.URL
	}
	seeds := make([]string, len(c.Join))
	for i, s := range c.Join {
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		seeds[i] = s
	}
	return strings.Join(seeds, ",")
}

func badConfig(format string, args ...any) error { return fault.Config(format, args...) }
