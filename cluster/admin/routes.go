package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster/dashboard"
	"github.com/loopmesh/loopmesh/cluster/drain"
	"github.com/loopmesh/loopmesh/cluster/durable"
)

// The requests of the API, in one table: the handler, the OpenAPI document and its test
// are made from it.
//
// What holds for all of them. A question is a GET and changes nothing; what changes
// something is a POST, so that a link, a prefetching browser or a crawler cannot do it.
// What is asked stands in the query, since most of it is one id or one time; only a
// function's argument and the bytes for a connection are bodies. Every answer is a
// document with a kind, complete before its first byte is sent, within the time that the
// client gives (?timeout=). The one exception is the stream of events, which is open for
// as long as somebody reads it.
//
// A new request is a row here and, when it asks other nodes, a function in questions.go
// or orders.go. Rows are added; the meaning of one never changes within a version.

// route is one request. answer and body are zero values of what travels; body nil: none,
// []byte: bytes as they are.
type route struct {
	method, path, about string
	params              []param
	body, answer        any
	do                  handling
}

// handling answers a request.
type handling func(*Server, context.Context, *http.Request) (any, error)

// param is a part of the query.
type param struct {
	name, kind, about string // kind: string, integer, boolean, duration or time
	required          bool
}

var (
	idParam     = param{"id", "string", "the id, as a list prints it", true}
	nodeParam   = param{"id", "string", "the name of the node", true}
	reasonParam = param{"reason", "string", "why, for its events and errors", false}
	queueParam  = param{"queue", "string", "only those of this queue", false}
)

// routes is a function and not a variable because answering and describing refer to
// each other.
func routes() []route { return slices.Concat(questionRoutes(), orderRoutes()) }

// Two requests are no question with one answer, and have handlers of their own: what is sent
// goes on until somebody ends it, and the documents come one after another. They are in the
// description all the same: a program that is written from it must find them.
//
// streamRoutes describes them. answer is one document of the many.
func streamRoutes() []route {
	return []route{
		{"GET", "/api/v1/events/stream", "the events as they happen: text/event-stream, each an \"event\"; \"partial\" names who does not answer", eventParams, nil, Event{}, nil},
		{"POST", "/api/v1/procs/run", "run a command of a profile on a node: a RunFrame on each line; with Upgrade: loopmesh-run also from the client, which sends stdin and signals", nil, RunRequest{}, RunFrame{}, nil},
	}
}

// streamTypes are the forms in which the documents of streamRoutes follow each other.
var streamTypes = map[string]string{"/api/v1/events/stream": "text/event-stream", "/api/v1/procs/run": "application/x-ndjson"}

// questionRoutes are those that change nothing.
func questionRoutes() []route {
	return []route{
		{"GET", "/api/v1/self", "the node that answers, and the members it knows; asks nobody", nil, nil, Self{},
			func(s *Server, _ context.Context, _ *http.Request) (any, error) { return s.self(), nil }},
		{"GET", "/api/v1/nodes", "the members of the cluster, and those that died", []param{{"all", "boolean", "also those that left on purpose", false}}, nil, List[Node]{},
			func(s *Server, ctx context.Context, r *http.Request) (any, error) {
				return s.withFormer(s.nodes(ctx), r.URL.Query().Get("all") == "true"), nil
			}},
		{"GET", "/api/v1/loops", "the loops of all nodes", []param{{"measure", "duration", "measure each for so long", false}}, nil, List[Loop]{},
			func(s *Server, ctx context.Context, r *http.Request) (any, error) {
				d, err := durationParam(r, "measure", maxMeasure)
				return orError(func() any { return s.loops(ctx, int(d.Milliseconds())) }, err)
			}},
		{"GET", "/api/v1/tasks", "the tasks of all loops", []param{{"stack", "integer", "calls of each stack, 1 to 64 (default 1)", false}}, nil, List[Task]{},
			func(s *Server, ctx context.Context, r *http.Request) (any, error) {
				frames, err := countParam(r, "stack", 1, maxFrames)
				return orError(func() any {
					return onLoops(ctx, s, "TaskList", loopQuestion{Tasks: frames}, func(l *loopReport) ([]Task, int) { return l.TaskList, l.Tasks })
				}, err)
			}},
		{"GET", "/api/v1/conns", "the connections of all loops", nil, nil, List[Conn]{},
			func(s *Server, ctx context.Context, _ *http.Request) (any, error) { return s.conns(ctx), nil }},
		{"GET", "/api/v1/servers", "what takes connections, on all loops", nil, nil, List[Listener]{},
			func(s *Server, ctx context.Context, _ *http.Request) (any, error) {
				return onLoops(ctx, s, "ListenerList", loopQuestion{Servers: true}, func(l *loopReport) ([]Listener, int) { return l.Serving, len(l.Serving) }), nil
			}},
		{"GET", "/api/v1/procs", "the child processes of all loops", nil, nil, List[Child]{},
			func(s *Server, ctx context.Context, _ *http.Request) (any, error) {
				return onLoops(ctx, s, "ChildList", loopQuestion{Children: true}, func(l *loopReport) ([]Child, int) { return l.Procs, l.Children }), nil
			}},
		{"GET", "/api/v1/actors", "the actors of all nodes", nil, nil, List[Actor]{},
			func(s *Server, ctx context.Context, _ *http.Request) (any, error) { return s.actorList(ctx), nil }},
		{"GET", "/api/v1/funcs", "the registered functions of all nodes", nil, nil, List[Func]{},
			func(s *Server, ctx context.Context, _ *http.Request) (any, error) { return s.funcs(ctx), nil }},
		{"GET", "/api/v1/traffic", "what loops and nodes have sent to each other", nil, nil, List[Traffic]{}, (*Server).trafficList},
		{"GET", "/api/v1/calls", "the calls to other nodes that wait for their answers, the oldest of each node first", nil, nil, List[CallUnderWay]{}, (*Server).callList},
		{"GET", "/api/v1/events", "what has happened on all nodes, oldest first; /events/stream sends what follows (text/event-stream)", eventParams, nil, List[Event]{},
			func(s *Server, ctx context.Context, r *http.Request) (any, error) {
				f, err := filterOf(r)
				return orError(func() any { return s.follow(f).next(ctx) }, err)
			}},
		{"GET", "/api/v1/codes", "every code, with its cause and what to do", nil, nil, List[Code]{},
			func(*Server, context.Context, *http.Request) (any, error) {
				list := newList[Code]("CodeList")
				list.Items = Codes()
				return list, nil
			}},
		{"GET", sessionPath, "what whoever asks may do", nil, nil, Session{}, (*Server).session},
		{"GET", "/api/v1/health", "how each node is: clock, voters, keys, descriptors, disk", nil, nil, List[Health]{}, (*Server).healthList},
		{"GET", "/api/v1/streams", "the streams of the cluster's store, who leads them and who follows", nil, nil, List[Stream]{}, (*Server).streamList},
		{"GET", "/api/v1/nats", "how the nodes reach NATS: round trips, what waits, what was dropped", nil, nil, List[NATSLink]{}, (*Server).natsList},
		{"GET", "/api/v1/settings", "what the nodes were started with, without secrets", nil, nil, List[Setting]{}, (*Server).settingList},
		{"GET", "/api/v1/names", "the names that nodes own", nil, nil, List[Name]{}, (*Server).nameList},
		{"GET", "/api/v1/placements", "the singletons that are kept running, and where", nil, nil, List[Placement]{}, (*Server).placementList},
		{"GET", "/api/v1/timers", "the durable calls for later, by their times", []param{{"group", "string", "only those of this group", false}}, nil, List[Timer]{}, (*Server).timerList},
		{"GET", "/api/v1/commands", "the durable commands that wait or run, oldest first", []param{queueParam}, nil, List[Command]{}, commandList(durable.Commands, durable.DeadLetters)},
		{"GET", "/api/v1/commands/dead", "the dead letters", []param{queueParam}, nil, List[Command]{}, commandList(durable.DeadLetters, durable.Commands)},
		{"GET", "/api/v1/nodes/drain", "how far the drain of a node is", []param{nodeParam}, nil, Drain{}, (*Server).drainStatus},
		{"GET", "/api/v1/bench", "how far the measurement of a node is, or how its last one ended", []param{nodeParam}, nil, Bench{}, (*Server).benchStatus},
	}
}

// orderRoutes are those that change something.
func orderRoutes() []route {
	return []route{
		{"POST", sessionPath, "exchange a token or a ticket for a session: a cookie", nil, SessionRequest{}, Session{}, (*Server).login},
		{"POST", sessionPath + "/end", "end the session of the cookie", nil, nil, Session{}, (*Server).logout},
		{"POST", sessionPath + "/ticket", "make a link that opens the dashboard once, with the right to change things", nil, nil, Ticket{}, (*Server).newTicket},
		{"POST", "/api/v1/nodes/drain", "let a node leave in good order; answers when that has begun", []param{nodeParam, {"limit", "duration", "how long what runs there may take (default 1m)", false}, {"notice", "duration", "begin after so long, until which it can be taken back (default 0)", false}}, nil, Done{}, (*Server).orderDrain},
		{"POST", "/api/v1/nodes/resume", "take a drain back that has not begun", []param{nodeParam}, nil, Done{}, (*Server).resume},
		{"POST", "/api/v1/nodes/reload", "have a node read its configuration again, and apply what can change while it runs", []param{nodeParam}, nil, Reload{}, (*Server).reloadRoute},
		{"POST", "/api/v1/call", "run a function on a loop and wait for its result", nil, CallRequest{}, CallResult{}, (*Server).call},
		{"POST", "/api/v1/conns/write", "write the body to a connection", []param{idParam}, []byte(nil), Done{}, (*Server).write},
		{"POST", "/api/v1/conns/close", "close a connection", []param{idParam, reasonParam, {"abort", "boolean", "at once, without what waits", false}}, nil, Done{}, (*Server).close},
		{"POST", "/api/v1/tasks/cancel", "cancel a task", []param{idParam, reasonParam}, nil, Done{}, orderHandler(cancelTask, taskFolder)},
		{"POST", "/api/v1/servers/close", "stop taking connections; those that there are go on", []param{idParam, reasonParam}, nil, Done{}, orderHandler(closeServer, serverFolder)},
		{"POST", "/api/v1/procs/signal", "send a signal to a child process", []param{idParam, reasonParam, {"signal", "string", "TERM (default), HUP, INT, QUIT, KILL or a number", false}}, nil, Done{}, orderHandler(signalChild, procFolder)},
		{"POST", "/api/v1/actors/stop", "stop an actor", []param{idParam}, nil, Done{}, (*Server).stopActor},
		{"POST", "/api/v1/log/tail", "the newest lines of a node's log; it takes the right admin, so it is no GET", []param{nodeParam, {"module", "string", "only of modules whose name contains this", false}, {"lines", "integer", "how many, 1 to 1000 (default 100)", false}}, nil, List[LogLine]{}, (*Server).tailRoute},
		{"POST", "/api/v1/log/levels", "from which levels on the modules of a node log", []param{nodeParam}, nil, List[LogLevel]{}, (*Server).levelsRoute},
		{"POST", "/api/v1/log/level", "make a module of a node log from a level on", []param{nodeParam, {"module", "string", "the module; absent: all that have no level of their own", false}, {"level", "string", "trace, debug, info, warn, error, off, or default", true}}, nil, Done{}, (*Server).setRoute},
		{"POST", "/api/v1/profile", "make a profile of the process of a node", []param{nodeParam, {"of", "string", "cpu, heap, allocs, goroutine, mutex, block or stacks", true}, {"for", "duration", "how long those that are measured take (default 10s, 1m at most)", false}}, nil, Profile{}, (*Server).profileRoute},
		{"POST", "/api/v1/bench", "have a node send calls, casts or a stream to a loop for a while, and count what was done", nil, BenchRequest{}, Bench{}, (*Server).benchRoute},
		{"POST", "/api/v1/trace", "trace a call that is made for it, or the calls of a function for a while, over all nodes", nil, TraceRequest{}, Trace{}, (*Server).traceRoute},
		{"POST", "/api/v1/timers/cancel", "take a durable call for later back", []param{idParam, reasonParam}, nil, Done{}, cancelTimer.handler},
		{"POST", "/api/v1/timers/fire", "make a durable call for later due now", []param{idParam, reasonParam}, nil, Done{}, fireTimer.handler},
		{"POST", "/api/v1/commands/requeue", "let a dead letter wait in its queue again", []param{idParam, reasonParam}, nil, Done{}, requeueCommand.handler},
	}
}

// Bounds of what a question may ask for.
const (
	maxMeasure = 10 * time.Second
	maxFrames  = 64
)

// sessionPath is where a browser asks what it may do, and gets a session.
const sessionPath = "/api/v1/session"

var eventParams = []param{
	{"since", "duration", "only those of the last so long, as 8h, or from this time on (RFC 3339)", false},
	{"kind", "string", "only those of these kinds or codes, with commas between them", false},
	{"subject", "string", "only those whose subject contains this", false},
}

// orError is answer() when err is nil. It keeps a row of the table in one expression:
// read the query, and ask only when it could be read.
func orError(answer func() any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return answer(), nil
}

// durationParam reads a duration from the query, 0 when it is not there.
func durationParam(r *http.Request, name string, most time.Duration) (time.Duration, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > most {
		return 0, &Error{Kind: BadRequest, Message: fmt.Sprintf("%s is %q", name, text), Hint: fmt.Sprintf("write it as 500ms or 2s, %v at most", most)}
	}
	return d, nil
}

// countParam reads a number from 1 to most from the query.
func countParam(r *http.Request, name string, usual, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, &Error{Kind: BadRequest, Message: fmt.Sprintf("%s is %q", name, text), Hint: fmt.Sprintf("write a number from 1 to %d", most)}
	}
	return n, nil
}

// filterOf reads eventParams. A kind that there is not is refused: a question about
// "nodes" in place of "node" would be answered with an empty list, and read as "nothing
// has happened".
func filterOf(r *http.Request) (f eventFilter, err error) {
	q := r.URL.Query()
	f.subject = q.Get("subject")
	if kinds := q.Get("kind"); kinds != "" {
		f.kinds = strings.Split(kinds, ",")
		for _, k := range f.kinds {
			if _, isCode := Explain(k); !isCode && !isKind(k) {
				return f, &Error{Kind: BadRequest, Message: fmt.Sprintf("there is no kind of event and no code %q", k), Hint: "kinds: node, loop, call, actor, order, nats; codes: LM and four digits"}
			}
		}
	}
	if f.since, err = sinceOf(q.Get("since"), time.Now()); err != nil {
		return f, err
	}
	return f, nil
}

// sinceOf reads a duration back from now, or a time.
func sinceOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.Time{}, &Error{Kind: BadRequest, Message: fmt.Sprintf("since is %q", text), Hint: "write 90s, 8h or a time as 2026-11-22T12:00:00Z"}
}

// isKind reports whether events have this kind.
func isKind(text string) bool {
	for _, k := range kindsOfCodes {
		if k == text {
			return true
		}
	}
	return false
}

// handler is the API as http.Handler. A request of a browser from another site is
// refused when it would change something (http.CrossOriginProtection).
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			reply(w, func() (any, error) {
				ctx, cancel, err := withTimeout(r)
				if err != nil {
					return nil, err
				}
				defer cancel()
				return rt.do(s, ctx, r)
			})
		})
	}
	mux.HandleFunc("GET /api/v1/events/stream", s.stream)
	mux.HandleFunc("POST /api/v1/procs/run", s.runProcess)
	mux.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, func() (any, error) { return OpenAPI(), nil })
	})
	page := dashboard.Handler()
	mux.Handle("GET /{$}", page)
	mux.Handle("GET "+dashboard.Prefix, page)
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, func() (any, error) {
			return nil, &Error{Kind: NotFound, Message: fmt.Sprintf("there is no %s %s", r.Method, r.URL.Path), Hint: "GET /api/v1/openapi.json lists what there is"}
		})
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

// streamEvery is how often a stream asks the nodes for what is new; streamWait bounds
// one round, streamWrite one write to a client that does not read.
const (
	streamEvery = 500 * time.Millisecond
	streamWait  = 2 * time.Second
	streamWrite = 10 * time.Second
)

// Why it asks and is not told: a node that pushed its events to every viewer would have
// to know them, and to keep what a slow one has not read. Here all the state of a viewer
// is one number for each node, in this goroutine, and a node that nobody looks at sends
// nothing. Two questions a second to each node are below what can be measured there.
//
// stream sends events as server-sent events: those that there are and then those that
// follow, until the client or the server ends it. Nodes that do not answer are sent as
// an event "partial" when they change. A client that does not read is cut off.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	f, err := filterOf(r)
	if err != nil {
		reply(w, func() (any, error) { return nil, err })
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out, control := http.ResponseWriter(w), http.NewResponseController(w)
	follow, silent := s.follow(f), ""
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(r.Context(), streamWait)
		list := follow.next(ctx)
		cancel()
		_ = control.SetWriteDeadline(time.Now().Add(streamWrite)) // a writer without deadlines has none
		for _, e := range list.Items {
			if sendEvent(out, e.ID, "event", e) != nil {
				return
			}
		}
		if now := fmt.Sprint(list.Partial); now != silent {
			silent = now
			if sendEvent(out, "", "partial", list.Partial) != nil {
				return
			}
		}
		if control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.ending:
			return
		case <-tick.C:
		}
	}
}

// sendEvent writes one server-sent event. JSON has no line breaks of its own.
func sendEvent(w http.ResponseWriter, id, name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	_, err = fmt.Fprintf(w, "%sevent: %s\ndata: %s\n\n", id, name, text)
	return err
}

// The two probes answer in words for people and with a status for programs, without a
// token: who watches whether a process lives has none.
//
// livez says whether the loops of this node turn: a service manager restarts a process
// that says no.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	stuck := s.watch.blockedLoops()
	if len(stuck) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for name, b := range stuck {
		fmt.Fprintf(w, "loop %s is blocked since %s: %s\n", name, b.Since.UTC().Format(time.RFC3339), b.Frame)
	}
}

// readyz says whether this node may be given work: it is a member, has its connection to NATS,
// and nobody lets it leave.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.notice.leaving() || len(drain.Status(s.node)) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "this node is being drained")
		return
	}
	select {
	case <-s.node.Done():
	default:
		if _, member := s.member(s.node.Name()); member && !s.offline() {
			fmt.Fprintln(w, "ok")
			return
		}
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, "this node does not reach the cluster, or has ended")
}

// offline reports whether the node has no connection to NATS: it lost more of them
// than it won again.
func (s *Server) offline() bool {
	n := s.node.Stats()
	return n.Disconnects > n.Reconnects
}
