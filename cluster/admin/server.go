package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
)

// The server side: Open makes a node answerable, Listen gives it a socket.
//
// There are two halves, because a command asks one node and means all of them. The
// functions loopmesh.node and loopmesh.loop (questions.go) answer for one node or
// loop and are called by any node of the cluster; Open makes the loop on which they
// run. The HTTP handler (routes.go, listings.go, operations.go, orders.go) takes a command's
// question, asks every member through these functions (survey.go) and puts the
// answers together. It runs on net/http's goroutines, never on a loop, so it may
// wait. A request ends early when its client goes away: its ctx ends, and with it the
// calls to other nodes.

// Server makes one node answer. The program that opened it closes it. Its methods are
// safe from any goroutine, but Listen and Close are called once, in this order.
type Server struct {
	node    *cluster.Node
	log     hclog.Logger
	started time.Time
	http    *http.Server
	socket  *socket // nil: no Listen
	done    chan struct{}
	tcp     *tcpListener  // nil: no ListenTCP
	ending  chan struct{} // closed by Close: streams end
	once    sync.Once
	events  *ring
	former  former
	watch   watcher
	runs    sync.WaitGroup                                          // commands that are run through this node
	mine    atomic.Pointer[keptOf]                                  // nil: Keep was not called
	reload  atomic.Pointer[func(context.Context) ([]Change, error)] // nil: OnReload was not called
	bench   atomic.Pointer[benchRun]                                // the last measurement; nil: none
	notice  notice                                                  // of a drain
	sinks   sinks                                                   // of the measurements of others
	// Of browsers.
	sessions *sessions
}

// servers finds the server of a node (*cluster.Node → *Server): a registered function
// is one value for the whole process and knows its node from ctx only. An entry goes
// with the loop "admin" of its node.
var servers sync.Map // *cluster.Node → *Server

// Open makes node answer the questions of other nodes, on a loop of its own
// (LoopName), so that a program's busy loops do not delay the answer. With Listen it
// takes questions of commands, too. Close it before the node. Errors:
// cluster.ErrNameTaken when it is open already, cluster.ErrClosed.
//
// Why the server is stored before the loop exists: a call of another node may run as
// soon as the loop is there.
func Open(node *cluster.Node, log hclog.Logger) (*Server, error) {
	s := &Server{node: node, log: log, started: time.Now(), ending: make(chan struct{}), events: newRing(), sessions: newSessions(), watch: watcher{stuck: map[string]blocked{}}}
	servers.Store(node, s)
	ref, err := node.NewLoop(LoopName)
	if err != nil {
		servers.CompareAndDelete(node, s)
		return nil, fmt.Errorf("admin API of node %s: %w", node.Name(), err)
	}
	forget := func() { servers.CompareAndDelete(node, s) }
	loop, _ := ref.Local()
	begin := func() {
		loop.OnClose(forget)
		s.startWatch(loop)
	}
	if err = loop.Ref().CallSoonThreadsafe(begin); err == nil {
		err = s.hear(loop)
	}
	if err != nil {
		forget()
		return nil, fmt.Errorf("admin API of node %s: %w", node.Name(), err)
	}
	return s, nil
}

// Listen takes questions on a unix socket at path that only the owner may open. It
// returns when the socket is there and accepts. The socket file of a dead node is
// replaced; the error is ErrInUse when its node lives. Header and idle time-outs end
// connections of clients that open one and say nothing.
func (s *Server) Listen(path string) error {
	sock, err := listen(path)
	if err != nil {
		return err
	}
	s.socket, s.done = sock, make(chan struct{})
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: s.httpLog(),
	}
	// goroutine: owner: the server; ends when Close closes the listener
	go func() {
		defer close(s.done)
		if err := s.http.Serve(sock.listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the admin socket is closed", "error", err)
		}
	}()
	return nil
}

// Path is where it listens; "" when it does not.
func (s *Server) Path() string {
	if s.socket == nil {
		return ""
	}
	return s.socket.path
}

// closeLimit is how long answers under way keep Close waiting: a request may have a
// longer time-out than anybody wants to wait for the end of a process.
const closeLimit = 2 * time.Second

// Close removes the socket first, so that no new client finds it, and then waits for
// the answers under way, two seconds at most. The lock goes last: until then no other
// node takes the path. The loop stays until the node is closed.
func (s *Server) Close() {
	s.once.Do(func() { close(s.ending) })
	s.notice.takeBack()
	s.runs.Wait() // they end with it
	s.closeTCP()
	if s.socket == nil {
		return
	}
	s.socket.remove()
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // the answers have had their time
	}
	<-s.done
	s.socket.release()
}

// defaultTimeout is for a client that gives none, such as curl.
const defaultTimeout = 5 * time.Second

// withTimeout is the request's ctx with the time that the client gives. Every answer
// has a deadline: it asks other nodes, and one of them may never answer.
func withTimeout(r *http.Request) (context.Context, context.CancelFunc, error) {
	limit := defaultTimeout
	if text := r.URL.Query().Get("timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return nil, nil, &Error{Kind: BadRequest, Message: fmt.Sprintf("timeout is %q", text), Hint: "write it as 500ms, 2s or 1m"}
		}
		limit = d
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	return ctx, cancel, nil
}

// reply writes an answer, or an error as its document with the status of its kind.
// The answer is complete before the first byte is sent, so the status is always true.
func reply(w http.ResponseWriter, answer func() (any, error)) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff") // names of others are in it
	w.Header().Set("Cache-Control", "no-store")
	v, err := answer()
	if err != nil {
		e := asError(err)
		status := statuses[e.Kind]
		if e.Code == codeToken {
			status = http.StatusUnauthorized
		}
		w.WriteHeader(status)
		v = errorDocument{"Error", APIVersion, e}
	}
	if c, ok := v.(withCookie); ok {
		http.SetCookie(w, c.cookie)
		v = c.document
	}
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}

// self answers without asking anybody: commands use it to find out which nodes of
// this machine belong to one cluster, also while the cluster cannot be reached.
func (s *Server) self() *Self {
	out := &Self{Kind: "Self", APIVersion: APIVersion, Name: s.node.Name(), Incarnation: incarnation(s.node.Incarnation()), Members: map[string]string{}}
	for _, m := range s.node.Members() {
		out.Members[m.Name] = incarnation(m.Incarnation)
	}
	return out
}

// httpLog keeps what net/http has to say about clients at debug level.
func (s *Server) httpLog() *log.Logger {
	return s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
}
