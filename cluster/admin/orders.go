package admin

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	nodeevents "github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

// Orders: what stops or ends something that runs. An order is a function whose name
// begins with "loopmesh.order.", which another node may call with the right "admin"
// only, whatever its rights to call functions are (cluster/rights.go). It runs on the
// loop that has the target, and leaves an event there.
//
// Why on that loop: everything that is ended belongs to its goroutine, and looking it up
// and ending it must not be two turns. Why by number and not by name: names of tasks
// repeat, and what a person saw in a list a minute ago must not mean another task now. A
// number is never used twice on a loop (of a PID, while it is a child of that loop).
//
// An order says that something was asked, never that it is over: a task may clean up
// first, a child may ignore a signal. Whoever wants to know asks again.

// order is what the functions below take.
type order struct {
	Path   string `json:"path"`   // behind NODE/LOOP/: tasks/7
	Reason string `json:"reason"` // of a cancellation, for its CancelledError
	Signal int    `json:"signal"` // to a child; 0: SIGTERM
}

// ordered is what an order answers.
type ordered struct {
	Found bool   `json:"found"`
	What  string `json:"what"` // for the event: name of the task, program of the child
}

// orderOn makes the function of one kind of order, for targets in folder.
func orderOn(name, folder, code string, do func(ctx context.Context, l *loopnode.Loop, number uint64, o order) (ordered, error)) *cluster.Function[order, ordered] {
	return cluster.Func(registry.OrderPrefix+name, func(ctx context.Context, o order) (ordered, error) {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return ordered{}, err
		}
		in, digits, _ := strings.Cut(o.Path, "/")
		number, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || in != folder {
			return ordered{}, fmt.Errorf("%w: %q names none of %s", actors.ErrBadAddress, o.Path, folder)
		}
		out, err := do(ctx, l, number, o)
		if node, ok := cluster.NodeOf(ctx); ok && err == nil && out.Found {
			if s, ok := servers.Load(node); ok {
				s.(*Server).note(Event{Code: code, Subject: node.Name() + "/" + l.Name() + "/" + o.Path, Text: out.What, Why: o.Reason})
			}
		}
		return out, err
	})
}

// The orders. Each finds its target among what lives on the loop now; what is not there is
// not an error of the order but the answer "not found", since it may just have ended.
var (
	cancelTask = orderOn("task.cancel", taskFolder, codeTaskCancelled, func(_ context.Context, l *loopnode.Loop, number uint64, o order) (ordered, error) {
		name, found := loopaccess.Of(l).CancelTask(number, o.Reason)
		return ordered{found, name}, nil
	})
	closeServer = orderOn("server.close", serverFolder, codeServerClosed, func(_ context.Context, l *loopnode.Loop, number uint64, _ order) (ordered, error) {
		for _, s := range transportactors.Servers(l) {
			if s.Number() == number {
				what := fmt.Sprint(s.Addrs())
				s.Close()
				return ordered{true, what}, nil
			}
		}
		return ordered{}, nil
	})
	signalChild = orderOn("proc.signal", procFolder, codeChildSignalled, func(_ context.Context, l *loopnode.Loop, number uint64, o order) (ordered, error) {
		for _, t := range subprocess.Transports(l) {
			if uint64(t.PID()) != number {
				continue
			}
			sig := syscall.SIGTERM
			if o.Signal != 0 {
				sig = syscall.Signal(o.Signal)
			}
			info, _ := t.ExtraInfo("subprocess").(subprocess.Info)
			return ordered{true, fmt.Sprintf("%q got %v", info.Args, sig)}, t.SendSignal(sig)
		}
		return ordered{}, nil
	})
)

// orderHandler is the route of one order: ?id=NODE/LOOP/FOLDER/NUMBER. It sends the order
// to the loop that the id names, wherever that is, and waits for its answer. After a
// time-out it is not known whether the order was carried out; carrying it out twice does
// no harm.
func orderHandler(f *cluster.Function[order, ordered], folder string) func(*Server, context.Context, *http.Request) (any, error) {
	return func(s *Server, ctx context.Context, r *http.Request) (any, error) {
		id := r.URL.Query().Get("id")
		loop, path, err := splitID(id, folder)
		if err != nil {
			return nil, err
		}
		o := order{Path: path, Reason: r.URL.Query().Get("reason")}
		if text := r.URL.Query().Get("signal"); text != "" {
			if o.Signal, err = signalNumber(text); err != nil {
				return nil, err
			}
		}
		ref, err := s.node.Ref(loop)
		if err != nil {
			return nil, s.advise(ctx, err, loop)
		}
		out, err := f.Via(s.node).Call(ctx, ref, o)
		switch {
		case err != nil:
			return nil, s.advise(ctx, err, loop)
		case !out.Found:
			return nil, &Error{Kind: NotFound, Message: fmt.Sprintf("there is no %q", id), Hint: "it may have ended; list what there is"}
		}
		return &Done{Kind: "Done", APIVersion: APIVersion, ID: id}, nil
	}
}

// splitID cuts NODE/LOOP/FOLDER/NUMBER behind the loop. An id of another kind is refused
// here, before anybody is asked: "task cancel" with the id of a connection is a mistake.
func splitID(id, folder string) (loop, path string, err error) {
	parts := strings.Split(id, "/")
	if len(parts) == 4 && parts[2] == folder && parts[0] != "" && parts[1] != "" {
		if _, err := strconv.ParseUint(parts[3], 10, 64); err == nil {
			return parts[0] + "/" + parts[1], parts[2] + "/" + parts[3], nil
		}
	}
	return "", "", &Error{Kind: BadRequest, Message: fmt.Sprintf("%q is not an id of %s", id, folder), Hint: "write NODE/LOOP/" + folder + "/NUMBER, as lists print it"}
}

// signals are those that have a meaning for a program that is not being debugged.
var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM,
}

// signalNumber reads TERM, SIGTERM and 15.
func signalNumber(text string) (int, error) {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 65 {
		return n, nil
	}
	if sig, ok := signals[strings.TrimPrefix(strings.ToUpper(text), "SIG")]; ok {
		return int(sig), nil
	}
	return 0, &Error{Kind: BadRequest, Message: fmt.Sprintf("there is no signal %q", text), Hint: "HUP, INT, QUIT, KILL, TERM or a number"}
}

// stopActor stops an actor of any node; actors of other nodes take it with the right
// "admin" only (cluster/rights.go).
func (s *Server) stopActor(_ context.Context, r *http.Request) (any, error) {
	id := r.URL.Query().Get("id")
	address, err := actors.Parse(id)
	if err != nil || address.Node == "" || address.Path == "" {
		return nil, &Error{Kind: BadRequest, Message: fmt.Sprintf("%q is not the address of an actor", id), Hint: "write NODE/PATH, as actor ls prints it"}
	}
	if _, known := s.member(address.Node); !known {
		return nil, s.advise(r.Context(), fmt.Errorf("%w: %q", cluster.ErrUnknownNode, address.Node), id)
	}
	s.node.Actors().Stop(actors.RefOf(address))
	s.note(Event{Code: codeActorStopped, Subject: id, Text: "asked to stop"})
	return &Done{Kind: "Done", APIVersion: APIVersion, ID: id}, nil
}

// member finds a member by its name.
func (s *Server) member(name string) (nodeevents.Member, bool) {
	for _, m := range s.node.Members() {
		if m.Name == name {
			return m, true
		}
	}
	return nodeevents.Member{}, false
}
