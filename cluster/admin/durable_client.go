package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// The documents about what is in the store of the cluster, and the client's requests. The
// documents are apart from the types of packages names and durable, which a program
// uses: those may change with their package, these only grow.

// Name is a name that a node owns. Token is higher for each later owner of the name.
type Name struct {
	// The name.
	ID   string `json:"id"`
	Node string `json:"node"`
	// Of the node; a decimal number, as in addresses.
	Incarnation string `json:"incarnation"`
	// The owner's loop, when the claim named one.
	Loop  string    `json:"loop,omitempty"`
	Token uint64    `json:"token"`
	Since time.Time `json:"since"`
}

// Timer is a durable call for later. States: pending, done and cancelled (both are kept
// for an hour), dead: it failed as often as it may.
type Timer struct {
	// GROUP/ID, as timer cancel and timer fire take it.
	ID    string `json:"id"`
	Group string `json:"group"`
	// The id within the group, as the program wrote it.
	Name     string    `json:"name"`
	Function string    `json:"function"`
	Due      time.Time `json:"due"`
	// Of a recurring one.
	Rule  string `json:"rule,omitempty"`
	Zone  string `json:"zone,omitempty"`
	State string `json:"state"`
	// That failed.
	Attempts int `json:"attempts"`
	// Of the last one.
	Error   string    `json:"error,omitempty"`
	Changed time.Time `json:"changed"`
}

// Command is a durable command. States: pending (it waits or runs) and dead.
type Command struct {
	// QUEUE/ID, as command requeue takes it.
	ID    string `json:"id"`
	Queue string `json:"queue"`
	// The id within the queue, as the program wrote it.
	Name string `json:"name"`
	// Commands of one key run one after another.
	Key      string    `json:"key,omitempty"`
	Function string    `json:"function"`
	State    string    `json:"state"`
	Sent     time.Time `json:"sent"`
	Ended    time.Time `json:"ended,omitzero"`
	// Of a dead one.
	Attempts int `json:"attempts"`
	// Why it is dead.
	Error string `json:"error,omitempty"`
}

// Names lists the names that nodes own.
func (c *Client) Names(ctx context.Context) (*List[Name], error) {
	return get[List[Name]](ctx, c, "names")
}

// Timers lists the calls for later of a group, "" for all groups, by their times.
func (c *Client) Timers(ctx context.Context, group string) (*List[Timer], error) {
	return send[List[Timer]](ctx, c, http.MethodGet, "timers", url.Values{"group": {group}}, nil)
}

// Commands lists the commands of a queue that wait or run, "" for all queues, in the
// order in which they were stored.
func (c *Client) Commands(ctx context.Context, queue string) (*List[Command], error) {
	return send[List[Command]](ctx, c, http.MethodGet, "commands", url.Values{"queue": {queue}}, nil)
}

// DeadLetters lists the commands that failed as often as they may; otherwise as Commands.
func (c *Client) DeadLetters(ctx context.Context, queue string) (*List[Command], error) {
	return send[List[Command]](ctx, c, http.MethodGet, "commands/dead", url.Values{"queue": {queue}}, nil)
}

// CancelTimer takes a call for later back.
func (c *Client) CancelTimer(ctx context.Context, id, reason string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "timers/cancel", url.Values{"id": {id}, "reason": {reason}}, nil)
}

// FireTimer makes a call for later due now.
func (c *Client) FireTimer(ctx context.Context, id, reason string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "timers/fire", url.Values{"id": {id}, "reason": {reason}}, nil)
}

// Requeue lets a dead letter wait in its queue again.
func (c *Client) Requeue(ctx context.Context, id, reason string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "commands/requeue", url.Values{"id": {id}, "reason": {reason}}, nil)
}
