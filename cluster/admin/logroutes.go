package admin

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
)

// The log over the API, and the settings of a node. To read a log takes the right "admin",
// as changing it does: what a program logs was never meant for everybody who may call a
// function, or who may open a port on loopback. So both are orders here, and POST.

// Setting is a value of a node's configuration and where it comes from. Secrets are never
// in it.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
	// Absent for a configuration that no node runs with.
	Node string `json:"node,omitempty"`
}

// Keep gives the server what the program knows beside the node: its log, nil for none, and
// the settings it was started with. It is called before Listen.
func (s *Server) Keep(log *Log, settings []Setting) {
	s.mine.Store(&keptOf{log, settings})
}

// It is replaced as a whole and read without a lock: a question may come while the program is
// still about to call Keep, and is then told that no log is kept.
// keptOf is what Keep was given.
type keptOf struct {
	log      *Log
	settings []Setting
}

// mineOf is what the server of the node in ctx keeps.
func mineOf(ctx context.Context) (*Server, *keptOf, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return nil, nil, cluster.ErrNoNode
	}
	found, ok := servers.Load(node)
	if !ok {
		return nil, nil, cluster.ErrClosed
	}
	s := found.(*Server)
	if mine := s.mine.Load(); mine != nil {
		return s, mine, nil
	}
	return s, &keptOf{}, nil
}

// logOrder is what the functions about the log take.
type logOrder struct {
	Module string `json:"module"`
	Level  string `json:"level"` // "default": that of all others
	Lines  int    `json:"lines"`
}

// Errors that a person can do something about travel as values (Wrong), because an error of a
// function reaches another node as text alone, and its kind decides the exit code there.
// logAnswer is what they answer. Kept is false where the program keeps no log.
type logAnswer struct {
	Kept   bool       `json:"kept"`
	Lines  []LogLine  `json:"lines"`
	Levels []LogLevel `json:"levels"`
	More   bool       `json:"more"`
	Wrong  *Error     `json:"wrong"`
}

// The orders; they run on the loop LoopName.
var (
	tailLog = cluster.Func(registry.OrderPrefix+"log.tail", func(ctx context.Context, o logOrder) (a logAnswer, err error) {
		s, mine, err := mineOf(ctx)
		if err != nil || mine.log == nil {
			return a, err
		}
		a.Kept = true
		a.Lines, a.More = mine.log.tail(s.node.Name(), o.Module, o.Lines)
		return a, nil
	})
	listLevels = cluster.Func(registry.OrderPrefix+"log.levels", func(ctx context.Context, _ logOrder) (a logAnswer, err error) {
		s, mine, err := mineOf(ctx)
		if err != nil || mine.log == nil {
			return a, err
		}
		return logAnswer{Kept: true, Levels: mine.log.list(s.node.Name())}, nil
	})
	setLevel = cluster.Func(registry.OrderPrefix+"log.level", func(ctx context.Context, o logOrder) (a logAnswer, err error) {
		s, mine, err := mineOf(ctx)
		if err != nil || mine.log == nil {
			return a, err
		}
		a.Kept = true
		level := hclog.LevelFromString(o.Level)
		if level == hclog.NoLevel && o.Level != levelDefault {
			a.Wrong = badLevel(o.Level)
			return a, nil
		}
		if err := mine.log.Set(o.Module, level); err != nil {
			a.Wrong = asError(err)
			return a, nil
		}
		module := o.Module
		if module == "" {
			module = "all modules"
		}
		s.note(Event{Code: codeLogLevel, Subject: s.node.Name(), Text: "log level of " + module + ": " + o.Level})
		return a, nil
	})
	askSettings = cluster.Func(internalPrefix+"settings", func(ctx context.Context, _ struct{}) ([]Setting, error) {
		s, mine, err := mineOf(ctx)
		if err != nil {
			return nil, err
		}
		out := slices.Clone(mine.settings)
		for i := range out {
			out[i].Node = s.node.Name()
		}
		return out, nil
	})
)

// levelDefault takes the level of a module away.
const levelDefault = "default"

func badLevel(text string) *Error {
	return &Error{Kind: BadRequest, Message: "there is no level " + strconv.Quote(text), Hint: "levels: trace, debug, info, warn, error, off, and default for a module without one of its own"}
}

// noLog is about a node whose program keeps no log.
func noLog(id string) *Error {
	return &Error{Kind: NotFound, Message: "the program of node " + id + " keeps no log that can be asked for", Hint: "it has to make one with admin.NewLog, as 'loopmesh start' does"}
}

// The node may be any; onNode sends the order there and waits. The three refusals differ in
// what to do: ask another node, ask a program that keeps a log, mend the request.
// onKept calls an order about the log of the node that ?id= names.
func (s *Server) onKept(ctx context.Context, r *http.Request, f *cluster.Function[logOrder, logAnswer], o logOrder) (string, logAnswer, error) {
	id, a, err := onNode(ctx, s, r, f, o)
	switch {
	case err != nil:
		return id, a, err
	case !a.Kept:
		return id, a, noLog(id)
	case a.Wrong != nil:
		return id, a, a.Wrong
	}
	return id, a, nil
}

// usualLines is how many lines are told when nobody says how many.
const usualLines = 100

// tailRoute gives the newest lines of one node.
func (s *Server) tailRoute(ctx context.Context, r *http.Request) (any, error) {
	lines, err := countParam(r, "lines", usualLines, maxLines)
	if err != nil {
		return nil, err
	}
	_, a, err := s.onKept(ctx, r, tailLog, logOrder{Module: r.URL.Query().Get("module"), Lines: lines})
	if err != nil {
		return nil, err
	}
	list := newList[LogLine]("LogLineList")
	list.Items = append(list.Items, a.Lines...)
	return list, nil
}

// levelsRoute lists the levels of one node.
func (s *Server) levelsRoute(ctx context.Context, r *http.Request) (any, error) {
	_, a, err := s.onKept(ctx, r, listLevels, logOrder{})
	if err != nil {
		return nil, err
	}
	list := newList[LogLevel]("LogLevelList")
	list.Items = append(list.Items, a.Levels...)
	return list, nil
}

// setRoute changes one level of one node.
func (s *Server) setRoute(ctx context.Context, r *http.Request) (any, error) {
	q := r.URL.Query()
	id, _, err := s.onKept(ctx, r, setLevel, logOrder{Module: q.Get("module"), Level: strings.ToLower(q.Get("level"))})
	if err != nil {
		return nil, err
	}
	return &Done{Kind: "Done", APIVersion: APIVersion, ID: id}, nil
}

// Settings are told to everybody who may ask, unlike the log: they are what the command line of
// the process shows to every user of its machine, and passwords are in files that are only
// named.
// settingList is the route of what nodes were started with.
func (s *Server) settingList(ctx context.Context, _ *http.Request) (any, error) {
	list, members := newList[Setting]("SettingList"), s.node.Members()
	answers, errs := make([][]Setting, len(members)), make([]error, len(members))
	inParallel(len(members), func(i int) {
		answers[i], _, errs[i] = ask(ctx, s, askSettings, members[i].Name+"/"+LoopName, struct{}{})
	})
	for i, m := range members {
		if errs[i] != nil {
			list.missing(m.Name, errs[i])
		}
		list.Items = append(list.Items, answers[i]...)
	}
	return list, nil
}

// LogTail asks for the newest lines of a node's log, of modules whose name contains module.
func (c *Client) LogTail(ctx context.Context, node, module string, lines int) (*List[LogLine], error) {
	return send[List[LogLine]](ctx, c, http.MethodPost, "log/tail", url.Values{"id": {node}, "module": {module}, "lines": {strconv.Itoa(lines)}}, nil)
}

// LogLevels lists from which levels on the modules of a node log.
func (c *Client) LogLevels(ctx context.Context, node string) (*List[LogLevel], error) {
	return send[List[LogLevel]](ctx, c, http.MethodPost, "log/levels", url.Values{"id": {node}}, nil)
}

// SetLogLevel makes a module of a node log from a level on; "" is all modules, and the level
// "default" takes that of a module away.
func (c *Client) SetLogLevel(ctx context.Context, node, module, level string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "log/level", url.Values{"id": {node}, "module": {module}, "level": {level}}, nil)
}

// Settings lists what the nodes were started with.
func (c *Client) Settings(ctx context.Context) (*List[Setting], error) {
	return get[List[Setting]](ctx, c, "settings")
}
