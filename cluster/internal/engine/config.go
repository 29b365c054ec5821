package engine

import (
	"bytes"
	"crypto/tls"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nkeys"

	"github.com/loopmesh/loopmesh/cluster/keys"
)

// Config says how a node reaches NATS. The zero value of everything but Node,
// Cluster and Log works: a server inside the process that listens on nothing.
type Config struct {
	Node    string // the node's name; a voter's server has the same
	Number  uint64 // its incarnation
	Cluster string
	Log     hclog.Logger
	Events  Events

	// Where the server is; at most one of these, none: inside this process.
	URL    string   // addresses of an external NATS, separated by commas
	Join   []string // addresses (host:port) of other nodes' servers
	Beside *Engine  // the embedded server of another node in this process

	// The embedded server.
	Listen      string        // host:port for clients, port 0 for any; "": none
	Voter       bool          // it is one of Routes
	Routes      []string      // host:port for routes of every voter, this one included; 1, 3 or 5
	RouteListen string        // which of Routes is this node; "" when the host tells
	StoreDir    string        // where JetStream keeps its files; one node each
	StoreSync   time.Duration // from writing to the disk; 0: each write waits for it
	MaxPayload  int           // of one NATS message; 0: NATS's default

	// Who the node is.
	Keys        string      // key folder, see package keys
	Credentials string      // NATS credentials file, for URL and Join
	NKey        string      // file with the seed of an nkey, for URL
	User        string      // for URL
	Password    string      // for URL
	TLS         *tls.Config // for URL and Join; nil: none unless the URL says tls
	Insecure    bool        // listen beyond loopback without keys
	Allow       []string    // rights of everybody where there are no keys, see package keys

	// Pending limits of one subscription: what may wait to be looked at.
	PendingMessages, PendingBytes int

	hours <-chan time.Time // instead of those of the clock: an open port is warned about
}

// Events are told by the engine's goroutines: they must not wait. A nil function
// is not called. Gone is told of clients of every cluster on the same account.
type Events struct {
	Lost   func(kind Kind, err error)                    // a connection is lost; the engine tries to get another
	Back   func(kind Kind)                               // it has one, with all subscriptions
	Came   func(node string, number uint64)              // the server says that a node connected
	Gone   func(node string, number uint64, closed bool) // or that its connection ended; closed: its process ended it
	Ended  func(node string, number uint64)              // a voter says that the process of another one is gone
	Denied func(subject string)                          // the server refused a publish or a subscription
	Slow   func(subject string)                          // NATS dropped messages that waited here for too long
	Votes  func(v Votes)                                 // which voters are connected has changed
	Skew   func(node string, behind time.Duration)       // the clock of a server differs, see skewLimit
}

// Times of a connection. Why one second: a server that hangs keeps its connection
// open, and only unanswered pings tell. Why a first wait of 50 ms to reconnect: the
// usual cause is a server that restarts or another voter that is free.
const (
	serverPing      = time.Second // a server or client that says nothing for three of them is cut off
	serverPings     = 2
	maxSync         = time.Minute // see Config.StoreSync
	serverPending   = 256 << 20   // bytes that wait for one client; the default, 64 MiB, cuts a busy node off that others flood
	reconnectFirst  = 50 * time.Millisecond
	reconnectMost   = time.Second
	defaultMessages = 1 << 19
	defaultBytes    = 256 << 20
	maxServers      = 16 // addresses in Join or URL
)

// withDefaults sets what may wait at a subscription. The figures are large because a
// subscription that overflows loses messages: the credits above keep it far below
// them.
func (c Config) withDefaults() Config {
	if c.PendingMessages == 0 {
		c.PendingMessages = defaultMessages
	}
	if c.PendingBytes == 0 {
		c.PendingBytes = defaultBytes
	}
	return c
}

// embeds reports whether the server is inside this process and this node's own.
func (c *Config) embeds() bool { return c.URL == "" && len(c.Join) == 0 && c.Beside == nil }

// Check refuses what Open would before it opens anything: it reads files and asks nobody.
func Check(cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	if _, err := cfg.readKeys(); err != nil {
		return err
	}
	if _, err := keys.ParseGrants(cfg.Allow); err != nil {
		return badConfig("Allow: %w", err)
	}
	if cfg.StoreDir == "" {
		return nil
	}
	return lookAtOwner(cfg.StoreDir, owner{cfg.Cluster, cfg.Node})
}

// checkFiles reads the files that say who the node is at an external NATS. An empty one is
// told apart: it is what is left of a secret that nobody has filled in.
func (c *Config) checkFiles() error {
	for field, path := range map[string]string{"Credentials": c.Credentials, "NKey": c.NKey} {
		if path == "" {
			continue
		}
		raw, err := os.ReadFile(path)
		switch {
		case err != nil:
			return badConfig("%s: %w", field, err)
		case len(bytes.TrimSpace(raw)) == 0:
			return badConfig("%s: the file %s is empty: give the one that 'nsc generate creds' or 'nk -gen user' has made", field, path)
		}
		if field != "Credentials" {
			continue
		}
		_, err = nkeys.ParseDecoratedJWT(raw)
		if err == nil {
			_, err = nkeys.ParseDecoratedUserNKey(raw)
		}
		if err != nil {
			return badConfig("Credentials: %s is no NATS credentials file (%w): it holds a user's JWT and seed, as 'nsc generate creds' prints them", path, err)
		}
	}
	return nil
}

// check refuses what could only fail later, and says what to write instead. A
// combination that has no meaning is an error, too, and never ignored: whoever set
// both fields expected both to count.
func (c *Config) check() error {
	sources := 0
	for _, set := range []bool{c.URL != "", len(c.Join) > 0, c.Beside != nil} {
		if set {
			sources++
		}
	}
	switch {
	case sources > 1:
		return badConfig("URL, Join and Beside exclude each other: set one, or none for an embedded server")
	case c.StoreSync != 0 && c.StoreDir == "":
		return badConfig("StoreSync is %v, and there is no StoreDir: it belongs to the node that keeps the store", c.StoreSync)
	case c.StoreSync > maxSync:
		return badConfig("StoreSync is %v: the most is %v", c.StoreSync, maxSync)
	case sources == 1 && (c.Listen != "" || c.StoreDir != "" || c.Voter):
		return badConfig("Listen, StoreDir and Voter belong to an embedded server, but URL, Join or Beside is set: remove one side")
	case !c.Voter && (len(c.Routes) > 0 || c.RouteListen != ""):
		return badConfig("Routes connect voters, but Voter is not set")
	case c.Beside != nil && c.Beside.isClosed():
		return badConfig("Beside is node %s, which is closed: give a node that lives", c.Beside.cfg.Node)
	case c.Keys != "" && (c.URL != "" || c.Credentials != ""):
		return badConfig("Keys are for servers of this program: use Credentials, NKey or User for an external NATS")
	case len(c.Allow) > 0 && c.Keys != "":
		return badConfig("Allow is for nodes without keys, but Keys is set: their keys say what they may do")
	case c.Insecure && c.Keys != "":
		return badConfig("Insecure means without keys, but Keys is set: remove one")
	case c.NKey != "" && c.Credentials != "", c.User != "" && (c.NKey != "" || c.Credentials != ""):
		return badConfig("Credentials, NKey and User exclude each other: set one")
	case c.URL == "" && (c.NKey != "" || c.User != ""):
		return badConfig("NKey and User are for an external NATS: set URL, or use Keys")
	case c.Password != "" && c.User == "":
		return badConfig("Password without a User")
	}
	if err := c.checkFiles(); err != nil {
		return err
	}
	if err := c.checkAddresses(); err != nil {
		return err
	}
	if err := c.checkVoters(); err != nil {
		return err
	}
	return c.checkExposure()
}
