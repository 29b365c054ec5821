package durable

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/admit"
	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// command is what the store keeps of a command that waits.
type command struct {
	Version  int        `json:"v"`
	Queue    string     `json:"queue"`
	ID       string     `json:"id"`
	Key      string     `json:"key,omitempty"`
	Function string     `json:"function"`
	Codec    wire.Codec `json:"codec,omitempty"`
	Arg      []byte     `json:"arg,omitempty"`
	Most     int        `json:"most"` // attempts
	Sent     time.Time  `json:"sent"`
	Requeued uint64     `json:"requeued,omitempty"` // sequence of the dead letter it comes from
	Trace    string     `json:"trace,omitempty"`    // context of the sender's span
	Nonce    string     `json:"nonce"`
}

// ending is what the store keeps of a command that does not wait any more: for an hour
// that it is done, until somebody decides that it is dead.
type ending struct {
	Version  int       `json:"v"`
	State    Status    `json:"state"` // Done or Dead
	Digest   string    `json:"digest"`
	Command  *command  `json:"command"` // of a dead one with its argument
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
	At       time.Time `json:"at"`
	Nonce    string    `json:"nonce"`
}

const (
	commandPrefix = "cmd."
	endPrefix     = "end."
)

func commandSubject(queue, id string) string {
	return commandPrefix + records.Token(queue) + "." + records.Token(id)
}

func endSubject(queue, id string) string {
	return endPrefix + records.Token(queue) + "." + records.Token(id)
}

func readCommand(r records.Record) (c command, err error) {
	if json.Unmarshal(r.Body, &c) != nil || c.Version != version || c.ID == "" || commandSubject(c.Queue, c.ID) != r.Subject {
		return command{}, fmt.Errorf("%w: %s", errGarbage, r.Subject)
	}
	return c, nil
}

func readEnding(r records.Record) (e ending, err error) {
	if json.Unmarshal(r.Body, &e) != nil || e.Version != version || e.Command == nil || endSubject(e.Command.Queue, e.Command.ID) != r.Subject {
		return ending{}, fmt.Errorf("%w: %s", errGarbage, r.Subject)
	}
	return e, nil
}

// digest is the same for two commands that ask for the same.
func (c command) digest() string {
	h := sha256.New()
	for _, part := range []string{c.Function, string(rune(c.Codec)), c.Key, string(c.Arg)} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// SendOption changes a command.
type SendOption func(*command)

// Key makes the command one of a lane: commands of one key run one after another, in the
// order in which they were stored; one that fails keeps those behind it waiting until it
// has run or is dead. Commands without a key have no order.
func Key(key string) SendOption { return func(c *command) { c.Key = key } }

// Redeliver is how many attempts a command has before it is a dead letter; default 10.
// An attempt is also one during which the process of the owner died; the first such death
// of a command that has several attempts may not be counted. Waiting for its turn at an owner
// that dies is none.
func Redeliver(most int) SendOption { return func(c *command) { c.Most = most } }

// Send stores a command for whoever works on the queue (Work). nil means that it is
// stored: it runs at least once, and is acknowledged when fn has returned nil. A command
// with the same id, function, key and argument again is nil and not stored a second time,
// while it waits and for an hour after it ran. It waits for the store, at most five
// seconds, or until ctx ends; after an error it may be stored: send it again with the
// same id.
//
// Errors: ErrExists (the id was used for something else, or is a dead letter), ErrBadID,
// ErrFull, and those of the package.
func Send[In, Out any](ctx context.Context, n *cluster.Node, queue, id string, fn *cluster.Function[In, Out], in In, opts ...SendOption) (err error) {
	if ctx == nil || n == nil || fn == nil {
		return fault.Config("durable: Send needs a ctx, a node and a function, not nil")
	}
	c := command{Version: version, Queue: queue, ID: id, Function: fn.Name(), Most: defaultAttempts, Sent: time.Now().UTC(), Nonce: records.Nonce()}
	for _, set := range opts {
		if set != nil {
			set(&c)
		}
	}
	if err := errors.Join(checkName("queue", queue), checkName("id", id)); err != nil {
		return err
	}
	if c.Most < 1 || c.Most > maxAttempts {
		return fault.Config("Redeliver(%d): use 1 to %d", c.Most, maxAttempts)
	}
	if err := checkFunction(c.Function); err != nil {
		return err
	}
	if !utf8.ValidString(c.Key) {
		return fault.Config("the key %.200q is no UTF-8", c.Key)
	}
	if len(c.Key) > maxName {
		return fault.Config("the key %.20q… has %d bytes, the most is %d", c.Key, len(c.Key), maxName)
	}
	if c.Codec, c.Arg, err = codec.Encode(in); err != nil {
		return err
	}
	c.Trace = traces.Text(ctx)
	store := records.WorkOf(n.Inside(inside.Key{}))
	_, err = wait.Do(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.store(ctx, store) })
	return err
}

// store writes the command unless it waits or has ended. The server checks both in one
// step: it takes no second message of a subject, and compares the sequence of the ending
// with none.
func (c command) store(ctx context.Context, store *records.Records) error {
	ctx, cancel := records.Request(ctx)
	defer cancel()
	body, _ := json.Marshal(c) // the type can always be written
	subject, end := commandSubject(c.Queue, c.ID), endSubject(c.Queue, c.ID)
	for range maxLooks {
		_, err := store.AddBeside(ctx, admit.More, subject, end, body, 0)
		if !errors.Is(err, records.ErrConflict) {
			return err
		}
		var have string
		state := Pending
		if rec, err := store.Get(ctx, end); err == nil && !rec.Gone {
			e, bad := readEnding(rec)
			if bad != nil {
				return fmt.Errorf("%w: %s of queue %s: %w", ErrExists, c.ID, c.Queue, bad)
			}
			have, state = e.Digest, e.State
		} else if rec, err := store.Get(ctx, subject); err == nil && !rec.Gone {
			o, bad := readCommand(rec)
			if bad != nil {
				return fmt.Errorf("%w: %s of queue %s: %w", ErrExists, c.ID, c.Queue, bad)
			}
			have = o.digest()
		} else if err != nil && !errors.Is(err, records.ErrAbsent) {
			return err
		} else {
			continue // it has gone meanwhile
		}
		switch {
		case state == Dead:
			return fmt.Errorf("%w: %s of queue %s is a dead letter: requeue it, or take another id", ErrExists, c.ID, c.Queue)
		case have != c.digest():
			return fmt.Errorf("%w: %s of queue %s is another command: take another id", ErrExists, c.ID, c.Queue)
		}
		return nil
	}
	return fmt.Errorf("%w: %s of queue %s changes all the time", ErrExists, c.ID, c.Queue)
}

const maxLooks = 10

// Command is a command as the store has it.
type Command struct {
	Queue    string    `json:"queue"`
	ID       string    `json:"id"`
	Key      string    `json:"key,omitempty"`
	Function string    `json:"function"`
	State    Status    `json:"state"` // Pending, Done or Dead
	Sent     time.Time `json:"sent"`
	Ended    time.Time `json:"ended,omitzero"`
	Attempts int       `json:"attempts,omitempty"` // of a dead one
	Error    string    `json:"error,omitempty"`    // why it is dead
}

// MaxListed bounds what Commands and DeadLetters return.
const MaxListed = 10_000

// Commands lists the commands of a queue that wait or run, "" for all queues, in the
// order in which they were stored, at most MaxListed. It asks the server for one after
// another: it is for people. It waits for the store; Errors as of Send.
func Commands(ctx context.Context, n *cluster.Node, queue string) ([]Command, error) {
	return list(ctx, n, queue, commandPrefix, func(rec records.Record) (Command, bool) {
		c, err := readCommand(rec)
		return Command{Queue: c.Queue, ID: c.ID, Key: c.Key, Function: c.Function, State: Pending, Sent: c.Sent}, err == nil
	})
}

// DeadLetters lists the commands of a queue, "" for all queues, that failed as often as
// they may. Otherwise as Commands.
func DeadLetters(ctx context.Context, n *cluster.Node, queue string) ([]Command, error) {
	return list(ctx, n, queue, endPrefix, func(rec records.Record) (Command, bool) {
		e, err := readEnding(rec)
		if err != nil || e.State != Dead {
			return Command{}, false
		}
		c := e.Command
		return Command{c.Queue, c.ID, c.Key, c.Function, Dead, c.Sent, e.At, e.Attempts, e.Error}, true
	})
}

func list(ctx context.Context, n *cluster.Node, queue, prefix string, read func(records.Record) (Command, bool)) ([]Command, error) {
	if ctx == nil || n == nil {
		return nil, fault.Config("durable: a ctx and a node are needed, not nil")
	}
	filter := prefix + "*.*"
	if queue != "" {
		if err := checkName("queue", queue); err != nil {
			return nil, err
		}
		filter = prefix + records.Token(queue) + ".*"
	}
	store := records.WorkOf(n.Inside(inside.Key{}))
	return wait.Do(ctx, func(ctx context.Context) ([]Command, error) {
		var out []Command
		err := store.Walk(ctx, filter, func(rec records.Record) bool {
			if c, ok := read(rec); ok {
				out = append(out, c)
			}
			return len(out) < MaxListed
		})
		return out, err
	})
}

// Requeue lets a dead letter wait in its queue again, with all its attempts. It goes to
// the end of its lane. It waits for the store as Send does. Errors: ErrNotFound,
// ErrBadID, and those of the package.
func Requeue(ctx context.Context, n *cluster.Node, queue, id string) error {
	if ctx == nil || n == nil {
		return fault.Config("durable: a ctx and a node are needed, not nil")
	}
	if err := errors.Join(checkName("queue", queue), checkName("id", id)); err != nil {
		return err
	}
	store := records.WorkOf(n.Inside(inside.Key{}))
	_, err := wait.Do(ctx, func(ctx context.Context) (struct{}, error) {
		ctx, cancel := records.Request(ctx)
		defer cancel()
		rec, err := store.Get(ctx, endSubject(queue, id))
		if err != nil && !errors.Is(err, records.ErrAbsent) {
			return struct{}{}, err
		}
		e, bad := readEnding(rec)
		if err != nil || bad != nil || rec.Gone || e.State != Dead {
			return struct{}{}, fmt.Errorf("%w: no dead letter %s in queue %s", ErrNotFound, id, queue)
		}
		c := *e.Command
		c.Requeued, c.Nonce = rec.Seq, records.Nonce()
		body, _ := json.Marshal(c)
		// First the command, then the letter goes: who dies in between loses neither.
		_, err = store.PutBeside(ctx, commandSubject(queue, id), endSubject(queue, id), body, rec.Seq)
		if err != nil && !errors.Is(err, records.ErrConflict) { // conflict: somebody requeued it, too
			return struct{}{}, err
		}
		return struct{}{}, store.Delete(ctx, rec.Seq)
	})
	return err
}
