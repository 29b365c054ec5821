package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/loopmesh/loopmesh/cluster/internal/subject"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

// The embedded server: nats-server as a library, in this process. It was written to
// be a program of its own, so much of this file switches off what a program does and
// a library must not: handle signals, write to stdout, listen on every address, share
// a store folder.
//
// Two kinds of server differ in who may connect. Without keys every client is in one
// account and trusted; the server shares its notices of clients that come and go with
// that account. With keys the server takes clients that show a statement of the
// cluster, and the accounts' own statements share the notices.

// embedded is a NATS server inside this process. Owned by the engine that started it;
// nodes with Beside use it, so they are closed before it.
type embedded struct {
	nats     *server.Server
	accounts *server.MemAccResolver // nil without keys
	log      *serverLog
	unlock   func() error // lets the store folder go; nil without one
	reviving atomic.Bool  // JetStream is being started again: what it has is not all there yet
}

// Why readyLook: the server says that it is ready by a wait with a time limit, which
// is repeated in short steps so that a start that fails, or a ctx that ends, is
// noticed at once.
const (
	embeddedReady = 10 * time.Second
	readyLook     = 100 * time.Millisecond
	handshakeTime = 5 // seconds a client or a route may take for TLS and for proving who it is
)

// startServer starts a server that listens on nothing, or as cfg says. The store
// folder is taken before the server starts: two servers in one folder would destroy
// it.
func startServer(ctx context.Context, e *Engine) (*embedded, error) {
	s := &embedded{log: newServerLog(e.log.Named("nats"))}
	opts, err := serverOptions(&e.cfg)
	if err != nil {
		return nil, err
	}
	if e.cfg.Keys != "" {
		if err := s.requireKeys(opts, e.identity); err != nil {
			return nil, err
		}
	}
	if e.cfg.StoreDir != "" {
		if s.unlock, err = takeStore(&e.cfg); err != nil {
			return nil, err
		}
	}
	if s.nats, err = server.NewServer(opts); err != nil {
		s.stop()
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	s.nats.SetLoggerV2(s.log, e.log.IsTrace(), false, false)
	s.nats.Start()
	if err = s.ready(ctx, &e.cfg); err == nil && e.cfg.Keys == "" {
		err = s.shareNotices()
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	s.log.started.Store(true)
	return s, nil
}

// serverOptions sets explicitly what nats-server would otherwise decide against
// a node's interest: signals (it would take SIGTERM and exit), the address
// (0.0.0.0) and the store (one folder in the temporary directory for everybody).
func serverOptions(cfg *Config) (*server.Options, error) {
	host, port, err := cfg.listenAddress()
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o := &server.Options{
		ServerName:             cfg.Node,
		Host:                   host,
		Port:                   port,
		DontListen:             cfg.Listen == "",
		NoSigs:                 true,
		NoLog:                  true,
		DisableJetStreamBanner: true,
		JetStream:              cfg.StoreDir != "",
		StoreDir:               cfg.StoreDir,
		SyncAlways:             cfg.StoreSync == 0,
		SyncInterval:           cfg.StoreSync, // 0: the server's own; with SyncAlways it is for what no write waits for
		JetStreamMaxMemory:     storeMemory,
		MaxPayload:             int32(cfg.MaxPayload),
		MaxPending:             serverPending,
		PingInterval:           serverPing,
		MaxPingsOut:            serverPings,
		AuthTimeout:            handshakeTime,
		TLSTimeout:             handshakeTime,
		LameDuckDuration:       200 * time.Millisecond,
		LameDuckGracePeriod:    100 * time.Millisecond,
	}
	if cfg.clustered() {
		return o, routeOptions(cfg, o)
	}
	return o, nil
}

// routeOptions make the server one of several. Why the pings: by default a voter
// that hangs is found out after minutes.
func routeOptions(cfg *Config, o *server.Options) (err error) {
	own, err := cfg.ownRoute()
	if err != nil {
		return err
	}
	host, port, _ := hostPort(own)
	o.Cluster = server.ClusterOpts{
		Name: cfg.Cluster, Host: host, Port: port, Advertise: own,
		PoolSize: 3, PingInterval: serverPing, MaxPingsOut: serverPings, TLSTimeout: handshakeTime, AuthTimeout: handshakeTime,
	}
	// Clients are told the address others know this voter by, not all of the machine.
	if _, clients, _ := cfg.listenAddress(); clients != 0 {
		o.ClientAdvertise = net.JoinHostPort(host, strconv.Itoa(clients))
	}
	o.Routes, err = cfg.routeURLs()
	return err
}

// requireKeys makes the server take nodes of this cluster only: a client needs a
// certificate of the cluster's authority, and a statement that the cluster's account
// signed. Both accounts' statements are in memory (the resolver), where update
// replaces one when keys are revoked.
func (s *embedded) requireKeys(o *server.Options, current func() *keys.Identity) error {
	id := current()
	op, err := jwt.DecodeOperatorClaims(id.Operator)
	if err != nil {
		return fmt.Errorf("keys: operator: %w", err)
	}
	s.accounts = &server.MemAccResolver{}
	for name, text := range map[string]string{op.SystemAccount: id.System, id.Account: id.Members} {
		if err := s.accounts.Store(name, text); err != nil {
			return fmt.Errorf("keys: accounts: %w", err)
		}
	}
	o.TrustedOperators = []*jwt.OperatorClaims{op}
	o.SystemAccount = op.SystemAccount
	o.AccountResolver = s.accounts
	o.TLSConfig, o.TLSVerify = keys.ServerTLS(current), true
	if o.Cluster.Name != "" {
		o.Cluster.TLSConfig = keys.RouteTLS(current)
	}
	return nil
}

// shareNotices lets the clients of a server without keys hear when one of them
// comes or goes. Why an import: notices belong to the system account; a client of
// that account could read and command much more than this.
func (s *embedded) shareNotices() error {
	system, clients := s.nats.SystemAccount(), s.nats.GlobalAccount()
	for _, what := range []string{"CONNECT", "DISCONNECT"} {
		notices := subject.Notices(clients.Name, what)
		if err := system.AddStreamExport(notices, []*server.Account{clients}); err != nil {
			return fmt.Errorf("embedded NATS server: sharing its notices: %w", err)
		}
		if err := clients.AddStreamImport(system, notices, ""); err != nil {
			return fmt.Errorf("embedded NATS server: sharing its notices: %w", err)
		}
	}
	return nil
}

// ready waits until the server listens. A server whose port is taken does not report
// that as an error: it logs it as fatal and never becomes ready, so the log is looked
// at in each step.
func (s *embedded) ready(ctx context.Context, cfg *Config) error {
	limit := embeddedReady
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at))
	}
	for end := time.Now().Add(limit); !s.nats.ReadyForConnections(readyLook); {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// Why look: the server only logs that its port is taken and stays unready.
		if text := s.log.fatal.Load(); text != nil {
			return startError(cfg, *text)
		}
		if time.Now().After(end) {
			return fmt.Errorf("embedded NATS server was not ready after %v: is the machine overloaded?", limit)
		}
	}
	return context.Cause(ctx)
}

// startError is why the server did not start. Why it listens itself: of a port that it
// could not have the server tells no more than a text, with the address twice.
func startError(cfg *Config, text string) error {
	own, _ := cfg.ownRoute() // "" when it has none
	for _, at := range []struct{ address, who string }{{cfg.Listen, "other nodes"}, {own, "the other voters"}} {
		if at.address == "" {
			continue
		}
		l, err := net.Listen("tcp", at.address)
		if err == nil {
			_ = l.Close()
			continue
		}
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err // without the address
		}
		return fmt.Errorf("listening on %s for %s: %w", at.address, at.who, err)
	}
	return fmt.Errorf("embedded NATS server: %s", text)
}

// update makes a statement about the nodes' account count: clients whose keys it
// revokes are cut off at once.
func (s *embedded) update(text string, claims *jwt.AccountClaims) error {
	if err := s.accounts.Store(claims.Subject, text); err != nil {
		return err
	}
	account, err := s.nats.LookupAccount(claims.Subject)
	if err != nil {
		return err
	}
	s.nats.UpdateAccountClaims(account, claims)
	return nil
}

// url is where other processes connect to; "" when nothing listens.
func (s *embedded) url() string {
	if s == nil || s.nats.Addr() == nil {
		return ""
	}
	return s.nats.ClientURL()
}

// localURL is where this process reaches the listener.
func (s *embedded) localURL() string {
	host, port, _ := net.SplitHostPort(s.nats.Addr().String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = loopback
	}
	return "nats://" + net.JoinHostPort(host, port)
}

// stop ends the server and waits until all of it is gone, its goroutines and its
// files; only then may another server have the store folder.
func (s *embedded) stop() {
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	if s.unlock != nil {
		_ = s.unlock() // the descriptor is closed either way
	}
}
