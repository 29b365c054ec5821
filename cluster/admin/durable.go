package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/names"
)

// What outlives nodes: names, calls for later and commands. They lie in the store of the
// cluster (JetStream), not on a node, so the node that is asked reads the store and asks
// no other one. Such a list is whole or an error; Partial says only that it was cut.
//
// Who may give an order here? What is in the store is everybody's, so no other node could
// refuse. The node that is asked does: its own rights have to contain "admin", as for an
// order to another node. It is a rule of this API. The store lets every node of the
// cluster write, and a program that calls durable.Cancel itself needs no right.
//
// An id is GROUP/ID, or QUEUE/ID. Both parts are texts of the program and may hold
// anything printable, slashes too, so each is written as a part of a URL is
// (url.PathEscape): two things never have the same id, and an id is one argument for xargs
// that no command takes for a flag.

// storeID joins a group or a queue and what is in it.
func storeID(in, id string) string {
	whole := url.PathEscape(in) + "/" + url.PathEscape(id)
	if rest, dash := strings.CutPrefix(whole, "-"); dash {
		return "%2D" + rest
	}
	return whole
}

// cutStoreID is the other way; lister is the command that prints such ids.
func cutStoreID(whole, lister string) (in, id string, err error) {
	in, id, ok := strings.Cut(whole, "/")
	if ok && in != "" && id != "" && !strings.Contains(id, "/") {
		var badIn, badID error
		in, badIn = url.PathUnescape(in)
		id, badID = url.PathUnescape(id)
		if badIn == nil && badID == nil {
			return in, id, nil
		}
	}
	return "", "", &Error{Kind: BadRequest, Message: fmt.Sprintf("%q is not an id of %q", whole, lister), Hint: `write it as "loopmesh ` + lister + `" prints it, with one slash`}
}

// nameList lists who owns which name.
func (s *Server) nameList(ctx context.Context, _ *http.Request) (any, error) {
	owners, err := names.List(ctx, s.node)
	if err != nil {
		return nil, err
	}
	list := newList[Name]("NameList")
	for _, o := range owners {
		list.Items = append(list.Items, Name{ID: o.Name, Node: o.Node, Incarnation: incarnation(o.Life), Loop: o.Loop, Token: o.Token, Since: o.Since.UTC()})
	}
	return list, nil
}

// timerList lists the calls for later. A group that there is not is refused, see known.
func (s *Server) timerList(ctx context.Context, r *http.Request) (any, error) {
	group := r.URL.Query().Get("group")
	timers, err := durable.Timers(ctx, s.node, group)
	if err == nil && len(timers) == 0 && group != "" {
		err = s.known(ctx, "group", group, "timers/"+group)
	}
	if err != nil {
		return nil, err
	}
	list := newList[Timer]("TimerList")
	for _, t := range timers {
		list.Items = append(list.Items, Timer{
			ID: storeID(t.Group, t.ID), Group: t.Group, Name: t.ID, Function: t.Function, Due: t.Due.UTC(), Rule: t.Rule, Zone: t.Zone,
			State: string(t.State), Attempts: t.Attempts, Error: t.Error, Changed: t.Changed.UTC(),
		})
	}
	return list, nil
}

// commandList lists what read finds in the queues: commands that wait, or dead letters.
// other is the other one of both: a queue in which there is nothing but dead letters is
// one, too.
func commandList(read, other func(context.Context, *cluster.Node, string) ([]durable.Command, error)) func(*Server, context.Context, *http.Request) (any, error) {
	return func(s *Server, ctx context.Context, r *http.Request) (any, error) {
		queue := r.URL.Query().Get("queue")
		found, err := read(ctx, s.node, queue)
		if err == nil && len(found) == 0 && queue != "" {
			var beside []durable.Command
			if beside, err = other(ctx, s.node, queue); err == nil && len(beside) == 0 {
				err = s.known(ctx, "queue", queue, "queue/"+queue)
			}
		}
		if err != nil {
			return nil, err
		}
		return commandItems(found, queue), nil
	}
}

// commandItems is the list of commands; one that is as long as the store gives may lack
// some, and says so.
func commandItems(found []durable.Command, queue string) *List[Command] {
	list := newList[Command]("CommandList")
	for _, c := range found {
		list.Items = append(list.Items, Command{
			ID: storeID(c.Queue, c.ID), Queue: c.Queue, Name: c.ID, Key: c.Key, Function: c.Function, State: string(c.State), Sent: c.Sent.UTC(),
			Ended: c.Ended, Attempts: c.Attempts, Error: c.Error,
		})
	}
	if len(found) >= durable.MaxListed {
		hint := "the first ones have to run before the others can be seen"
		list.missing(cmp.Or(queue, "queues"), &Error{Kind: Refused, Message: fmt.Sprintf("there may be more than the %d that are listed", durable.MaxListed), Hint: hint})
	}
	return list
}

// known refuses a group or a queue that nobody serves and in which nothing lies: whoever
// mistyped it would read the empty list as "nothing waits".
func (s *Server) known(ctx context.Context, what, text, owned string) error {
	_, err := names.Resolve(ctx, s.node, owned)
	if errors.Is(err, names.ErrNotClaimed) || errors.Is(err, names.ErrBadName) {
		return &Error{Kind: NotFound, Message: fmt.Sprintf("no node serves a %s %q, and nothing lies in it", what, text), Hint: "leave it out to list those of every " + what}
	}
	return err
}

// storeOrder is an order about something in the store.
type storeOrder struct {
	what, lister string // for people: a timer, the command that lists it
	code, text   string // of the event
	do           func(ctx context.Context, n *cluster.Node, in, id string) error
}

// The orders. Each only changes a record; whoever serves the group or the queue hears of
// it, and what runs at that moment goes on.
var (
	cancelTimer    = storeOrder{"timer", "timer ls", codeTimerCancelled, "cancelled", durable.Cancel}
	fireTimer      = storeOrder{"timer", "timer ls", codeTimerFired, "due now", durable.FireNow}
	requeueCommand = storeOrder{"dead letter", "command dead", codeRequeued, "waits again", durable.Requeue}
)

// handler is the route of the order: ?id=GROUP/ID. It waits until the store has it. After
// a time-out it is not known whether it was carried out; twice does no harm, but for a
// timer, which may then run twice.
func (o storeOrder) handler(s *Server, ctx context.Context, r *http.Request) (any, error) {
	whole := r.URL.Query().Get("id")
	in, id, err := cutStoreID(whole, o.lister)
	if err != nil {
		return nil, err
	}
	if !s.node.Inside(inside.Key{}).Admin() {
		return nil, &Error{
			Kind: Refused, Message: fmt.Sprintf("node %s has no right admin, and what is in the store belongs to all nodes", s.node.Name()),
			Hint: "ask a node that has it, with --node", Code: codeNoRight,
		}
	}
	switch err := o.do(ctx, s.node, in, id); {
	case errors.Is(err, durable.ErrNotFound):
		return nil, &Error{Kind: NotFound, Message: fmt.Sprintf("there is no %s %q", o.what, whole), Hint: `it may have ended; "loopmesh ` + o.lister + `" lists those that there are`, Code: codeNotStored}
	case err != nil:
		return nil, err
	}
	s.note(Event{Code: o.code, Subject: whole, Text: o.text, Why: r.URL.Query().Get("reason")})
	return &Done{Kind: "Done", APIVersion: APIVersion, ID: whole}, nil
}
