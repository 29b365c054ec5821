package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/internal/subject"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

// Engine is how a node uses NATS: its server, if it has one, and its three
// connections. Open makes one; close it. All methods are safe from any goroutine.
//
// What it knows changes in three places: id is replaced as a whole when the key
// folder changes; lastVotes and cluster are guarded by mu; each Link guards its own
// connection.
type Engine struct {
	Subjects *subject.Space // the node's own; does not change
	Grants   keys.Grants    // the node's rights on others; without keys nobody checks them

	cfg       Config
	log       hclog.Logger
	everybody keys.Grants // without keys: the rights of every sender
	server    *embedded   // nil: somebody else's
	id        atomic.Pointer[keys.Identity]

	control, bulk, notices *Link

	mu        sync.Mutex
	lastVotes Votes    // guarded by mu
	cluster   string   // NATS cluster name of the first server; guarded by mu
	minority  minority // guarded by mu

	fills   fills         // what other servers say of their stores
	looks   atomic.Uint64 // at the own one
	noticed atomic.Bool   // the server tells who goes
	endings endings       // of other voters
	quiet   struct{ reconnect, errors, skew, routes, room seldom }

	closing   atomic.Bool
	closeOnce sync.Once
	stop      chan struct{}   // closed by Close
	live      context.Context // ends with stop
	die       context.CancelFunc
	work      sync.WaitGroup
}

// Open starts the server if there is one, and connects to it. It waits for that as
// long as ctx allows. What cannot work is refused with one of this package's errors,
// and leaves nothing behind.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	e := &Engine{cfg: cfg, log: cfg.Log, stop: make(chan struct{}), Grants: keys.DefaultGrants()}
	e.live, e.die = context.WithCancel(context.WithoutCancel(ctx))
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := e.loadKeys(); err != nil {
		return nil, err
	}
	var err error
	if e.everybody, err = e.trusted(); err != nil {
		return nil, badConfig("Allow: %w", err)
	}
	e.Subjects = subject.New(cfg.Cluster, cfg.Node, cfg.Number, e.Grants.Token())
	if err := e.start(ctx); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// start takes the steps of Open that Close takes back. What a server says is checked
// as soon as it is there; nothing above this package hears of the engine before all
// checks are passed.
func (e *Engine) start(ctx context.Context) (err error) {
	if e.cfg.embeds() {
		if e.server, err = startServer(ctx, e); err != nil {
			return err
		}
	}
	if err := e.checkTogether(ctx); err != nil {
		return err
	}
	for kind, l := range map[Kind]**Link{Control: &e.control, Bulk: &e.bulk, Notices: &e.notices} {
		if *l, err = e.open(ctx, kind); err != nil {
			return err
		}
	}
	if err := e.checkServer(); err != nil {
		return err
	}
	if err := e.listen(ctx); err != nil {
		return err
	}
	if err := e.meet(ctx); err != nil {
		return err
	}
	e.warnExposed()
	// goroutine: owner: engine; ends when Close closes e.stop
	e.work.Go(e.run)
	return nil
}

// Control is the connection for calls, answers and signs of life.
func (e *Engine) Control() *Link { return e.control }

// Bulk is the connection for the bytes of streams.
func (e *Engine) Bulk() *Link { return e.bulk }

// shared is the embedded server this node uses: its own or that of Beside.
func (e *Engine) shared() *embedded {
	if e.cfg.Beside != nil {
		return e.cfg.Beside.shared()
	}
	return e.server
}

// InProcess is the way to the embedded server through memory, for a NATS client of
// this process; nil when the server is somebody else's.
func (e *Engine) InProcess() nats.InProcessConnProvider {
	if s := e.shared(); s != nil {
		return s.nats
	}
	return nil
}

// URL is where nodes of other processes can join: the embedded server's address, ""
// when it listens on nothing, or the address of the NATS in use.
func (e *Engine) URL() string {
	if s := e.shared(); s != nil {
		return s.url()
	}
	return e.control.Server()
}

// Rights are those of a sender whose subject has that token. With keys the server
// lets a node publish under its own token only. Without keys nobody can tell who
// sends: then every sender has Config.Allow, or what trusted says.
func (e *Engine) Rights(token string) keys.Grants {
	if e.cfg.Keys != "" {
		return keys.FromToken(token)
	}
	return e.everybody
}

// Admin reports whether this node has the right "admin" on others.
func (e *Engine) Admin() bool { return e.Rights(e.Grants.Token()).Admin() }

// trusted are the rights of everybody where there are no keys. Who reaches a server
// that only this machine reaches could stop the process itself, so it is an admin;
// others are not. Starting commands takes Config.Allow.
func (e *Engine) trusted() (keys.Grants, error) {
	if len(e.cfg.Allow) > 0 {
		return keys.ParseGrants(e.cfg.Allow)
	}
	local := len(e.cfg.exposed()) == 0
	for _, s := range e.cfg.servers() {
		u, err := readURL(s)
		local = local && err == nil && isLoopback(u.Hostname())
	}
	if e.cfg.Beside != nil {
		return e.cfg.Beside.everybody, nil
	}
	if local {
		return keys.ParseGrants(append(keys.DefaultGrants().List(), "admin"))
	}
	return keys.DefaultGrants(), nil
}

func (e *Engine) isClosed() bool { return e.closing.Load() }

// lost is called when a connection is gone.
func (e *Engine) lost(kind Kind, err error) {
	e.log.Warn("connection to NATS lost", "connection", kind, "error", err)
	if e.cfg.Events.Lost != nil {
		e.cfg.Events.Lost(kind, err)
	}
}

// back is called when there is another connection, to the same server or another one.
// Of the control connection, the new server is checked, and it has to say again
// whether it tells who goes.
func (e *Engine) back(kind Kind, nc *nats.Conn) {
	e.log.Info("connected to NATS again", "connection", kind, "url", nc.ConnectedUrlRedacted())
	if kind == Control {
		e.noticed.Store(false) // the next server may be of another kind
		e.checkCluster(nc)
		e.sendReport(true) // which voters have ended meanwhile
	}
	if e.cfg.Events.Back != nil {
		e.cfg.Events.Back(kind)
	}
}

// Ticks of the engine's goroutine.
const (
	lookRoutes = 250 * time.Millisecond
	lookKeys   = 500 * time.Millisecond
	reportEach = time.Second
)

// run looks regularly at what changes without an event: the routes of the server, the
// key folder, the time. One goroutine does all of it; what this engine does not have
// gets a ticker that never ticks. When the server says that a route has ended, the routes
// are looked at more often for a while: the server says so before it has taken the route
// from its list.
func (e *Engine) run() {
	routes, files, report, warn := e.ticker(e.server != nil && e.cfg.clustered(), lookRoutes), e.ticker(e.cfg.Keys != "", lookKeys),
		e.ticker(e.server != nil, reportEach), e.ticker(true, warnAgain)
	side, room := e.ticker(len(e.cfg.Join) > 0, reportEach), e.ticker(e.server != nil && e.cfg.StoreDir != "", lookRoom)
	for _, t := range []*time.Ticker{routes, files, report, warn, side, room} {
		defer t.Stop()
	}
	var routeEnded chan struct{}
	if e.server != nil {
		routeEnded = e.server.log.routeEnded
	}
	stamp, hours, soon := e.keyStamp(), warn.C, 0
	if e.cfg.hours != nil {
		hours = e.cfg.hours
	}
	for {
		select {
		case <-e.stop:
			return
		case <-routeEnded:
			routes.Reset(lookSoon)
			soon = soonLooks
		case <-routes.C:
			e.lookAtRoutes()
			if soon--; soon == 0 {
				routes.Reset(lookRoutes)
			}
		case <-files.C:
			if now := e.keyStamp(); now != stamp {
				stamp = now
				e.keysChanged()
			}
		case <-report.C:
			e.sendReport(false)
		case <-side.C:
			e.leaveMinority(time.Now())
		case <-room.C:
			e.revive()
		case <-hours:
			e.warnExposed()
		}
	}
}

// ticker is a ticker, or one that never ticks.
func (e *Engine) ticker(wanted bool, each time.Duration) *time.Ticker {
	t := time.NewTicker(each)
	if !wanted {
		t.Stop()
	}
	return t
}

// Abort closes the connections at once, without handling what has arrived: the node
// sends and receives nothing any more. Close ends the rest.
func (e *Engine) Abort() {
	e.closing.Store(true)
	for _, l := range []*Link{e.control, e.bulk, e.notices} {
		l.current().nats.Close()
	}
}

// Close disconnects, stops the server, and waits until all of it is gone. What has
// arrived on the connections is handled first. Closing twice is harmless. Not from
// a handler of a message: it waits for them.
func (e *Engine) Close() {
	e.closeOnce.Do(func() {
		e.closing.Store(true)
		close(e.stop)
		e.die()
		e.work.Wait()
		for _, l := range []*Link{e.control, e.bulk, e.notices} {
			if l != nil {
				l.current().drain(closeWait)
			}
		}
		if e.server != nil {
			e.server.stop()
		}
	})
}

// String names the node, for logs.
func (e *Engine) String() string { return fmt.Sprintf("%s@%d", e.cfg.Node, e.cfg.Number) }
