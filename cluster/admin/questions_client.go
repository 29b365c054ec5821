package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The client's questions about what runs, and its orders. Each is one request with one
// document as its answer; what a document means stands at its type. An order that ends in
// the kinds TimedOut or Unreachable may have been carried out or not, like any call.

// MeasuredLoops is Loops with what each loop did for d meanwhile.
func (c *Client) MeasuredLoops(ctx context.Context, d time.Duration) (*List[Loop], error) {
	return send[List[Loop]](ctx, c, http.MethodGet, "loops", url.Values{"measure": {d.String()}}, nil)
}

// AllNodes is Nodes with those that left on purpose.
func (c *Client) AllNodes(ctx context.Context) (*List[Node], error) {
	return send[List[Node]](ctx, c, http.MethodGet, "nodes", url.Values{"all": {"true"}}, nil)
}

// Tasks lists the tasks of all loops, with stacks of so many calls.
func (c *Client) Tasks(ctx context.Context, stack int) (*List[Task], error) {
	return send[List[Task]](ctx, c, http.MethodGet, "tasks", url.Values{"stack": {strconv.Itoa(stack)}}, nil)
}

// Servers lists what takes connections.
func (c *Client) Servers(ctx context.Context) (*List[Listener], error) {
	return get[List[Listener]](ctx, c, "servers")
}

// Children lists the child processes of all nodes.
func (c *Client) Children(ctx context.Context) (*List[Child], error) {
	return get[List[Child]](ctx, c, "procs")
}

// Actors lists the actors of all nodes.
func (c *Client) Actors(ctx context.Context) (*List[Actor], error) {
	return get[List[Actor]](ctx, c, "actors")
}

// Traffic lists what loops and nodes have sent to each other.
func (c *Client) Traffic(ctx context.Context) (*List[Traffic], error) {
	return get[List[Traffic]](ctx, c, "traffic")
}

// CallsUnderWay lists the calls to other nodes that wait for their answers.
func (c *Client) CallsUnderWay(ctx context.Context) (*List[CallUnderWay], error) {
	return get[List[CallUnderWay]](ctx, c, "calls")
}

// Health lists how the nodes are, beside their loops.
func (c *Client) Health(ctx context.Context) (*List[Health], error) {
	return get[List[Health]](ctx, c, "health")
}

// Streams lists the streams of the cluster's store. Errors: kind Refused without a store,
// Unreachable without a majority of its servers.
func (c *Client) Streams(ctx context.Context) (*List[Stream], error) {
	return get[List[Stream]](ctx, c, "streams")
}

// EventFilter says which events are wanted: those since a duration back or a time (RFC
// 3339), of these kinds or codes, about a subject that contains Subject. Empty: all.
type EventFilter struct{ Since, Kinds, Subject string }

func (f EventFilter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"since": f.Since, "kind": f.Kinds, "subject": f.Subject} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// Events lists what has happened.
func (c *Client) Events(ctx context.Context, f EventFilter) (*List[Event], error) {
	return send[List[Event]](ctx, c, http.MethodGet, "events", f.query(), nil)
}

// maxLine bounds one event of a stream.
const maxLine = 1 << 20

// Follow calls fn for the events that there are and for those that follow, and silent
// with the nodes that do not answer when these change, until ctx ends or one of them
// returns an error.
func (c *Client) Follow(ctx context.Context, f EventFilter, fn func(Event) error, silent func([]Missing) error) error {
	to := c.base + "/api/v1/events/stream?" + f.query().Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return &Error{Kind: BadRequest, Message: err.Error()}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, maxLine)
	if resp.StatusCode != http.StatusOK {
		in.Scan()
		return c.refusal(resp.Status, in.Bytes())
	}
	name := ""
	for in.Scan() {
		if rest, ok := strings.CutPrefix(in.Text(), "event: "); ok {
			name = rest
		}
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok {
			continue
		}
		if err := told(name, data, fn, silent); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return c.unreachable(err)
	}
	return &Error{Kind: Unreachable, Message: "the node has ended the stream", Hint: "ask another one with --node"}
}

// A stream is lines: "event:" says of which kind the next "data:" is, and an empty line
// ends it. A line that begins with anything else is not for us, as the standard of
// server-sent events wants it.
//
// told hands on one event of a stream. One of a kind that a newer node sends is left out.
func told(name, data string, fn func(Event) error, silent func([]Missing) error) error {
	switch name {
	case "event":
		var e Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("an event that is not understood: %w", err)
		}
		return fn(e)
	case "partial":
		var missing []Missing
		if err := json.Unmarshal([]byte(data), &missing); err != nil {
			return fmt.Errorf("an event that is not understood: %w", err)
		}
		return silent(missing)
	}
	return nil
}

// CancelTask asks a task of any node to end.
func (c *Client) CancelTask(ctx context.Context, id, reason string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "tasks/cancel", url.Values{"id": {id}, "reason": {reason}}, nil)
}

// CloseServer lets a server take no more connections.
func (c *Client) CloseServer(ctx context.Context, id, reason string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "servers/close", url.Values{"id": {id}, "reason": {reason}}, nil)
}

// Signal sends a signal (TERM, KILL, 15, …) to a child process.
func (c *Client) Signal(ctx context.Context, id, signal, reason string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "procs/signal", url.Values{"id": {id}, "signal": {signal}, "reason": {reason}}, nil)
}

// StopActor asks an actor to stop.
func (c *Client) StopActor(ctx context.Context, id string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "actors/stop", url.Values{"id": {id}}, nil)
}

// Ticket asks for a link that opens the dashboard once, see Server.Ticket. Error: NotFound
// when the node listens on no port.
func (c *Client) Ticket(ctx context.Context) (*Ticket, error) {
	return send[Ticket](ctx, c, http.MethodPost, "session/ticket", nil, nil)
}
