package durable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

// Timer is a call for later as the store has it.
type Timer struct {
	Group    string    `json:"group"`
	ID       string    `json:"id"`
	Function string    `json:"function"`
	Due      time.Time `json:"due"`
	Rule     string    `json:"rule,omitempty"`
	Zone     string    `json:"zone,omitempty"`
	State    Status    `json:"state"`
	Attempts int       `json:"attempts,omitempty"` // that failed
	Error    string    `json:"error,omitempty"`    // of the last one
	Changed  time.Time `json:"changed"`
}

// Timers lists the calls for later of a group, "" for all groups, by their times. Those
// that have ended are listed for an hour. It waits for the store as CallLater does.
func Timers(ctx context.Context, n *cluster.Node, group string) ([]Timer, error) {
	filter := timerPrefix + "*.*"
	if group != "" {
		if err := checkName("group", group); err != nil {
			return nil, err
		}
		filter = timerPrefix + records.Token(group) + ".*"
	}
	store, err := storeOf(ctx, n)
	if err != nil {
		return nil, err
	}
	list, err := wait.Do(ctx, func(ctx context.Context) ([]records.Record, error) { return store.List(ctx, filter) })
	if err != nil {
		return nil, err
	}
	out := make([]Timer, 0, len(list))
	for _, rec := range list {
		if t, err := readTimer(rec); err == nil {
			out = append(out, Timer{t.Group, t.ID, t.Function, t.Due, t.Rule, t.Zone, t.State, t.Attempts, t.Error, t.Changed})
		}
	}
	slices.SortStableFunc(out, func(a, b Timer) int { return a.Due.Compare(b.Due) })
	return out, nil
}

func storeOf(ctx context.Context, n *cluster.Node) (*records.Records, error) {
	if ctx == nil || n == nil {
		return nil, fault.Config("durable: a ctx and a node are needed, not nil")
	}
	return records.Of(n.Inside(inside.Key{})), nil
}

// Cancel takes a call for later back. A run that has begun goes on, and is the last one.
// It waits for the store as CallLater does. Errors: ErrNotFound, ErrBadID, and those of
// the package.
func Cancel(ctx context.Context, n *cluster.Node, group, id string) error {
	return change(ctx, n, group, id, keepEnded, func(t *record) error {
		if t.State != Pending && t.State != Dead {
			return fmt.Errorf("%w: %s of group %s is %s", ErrNotFound, id, group, t.State)
		}
		t.State, t.Arg = Cancelled, nil // what it would have run with takes no room any more
		return nil
	})
}

// FireNow makes a call for later due at once, also one that is dead. A recurring one goes
// on with its rule afterwards. It waits for the store as CallLater does. Errors:
// ErrNotFound, ErrBadID, and those of the package.
func FireNow(ctx context.Context, n *cluster.Node, group, id string) error {
	return change(ctx, n, group, id, 0, func(t *record) error {
		if t.State != Pending && t.State != Dead {
			return fmt.Errorf("%w: %s of group %s is %s", ErrNotFound, id, group, t.State)
		}
		now := time.Now().UTC()
		t.State, t.Attempts, t.Due, t.Slot, t.Delay = Pending, 0, now, now, 1
		return nil
	})
}

// Managing works from every node, whether one serves the group or not: it changes the
// record, and the owner hears of it like of a new one. A change meets the end of a run
// in the store: each is written against the record it has read, so one of both is second
// and sees what the first one wrote.

// change reads a record, changes it and writes it, until nobody else did meanwhile.
func change(ctx context.Context, n *cluster.Node, group, id string, ttl time.Duration, with func(*record) error) error {
	if err := errors.Join(checkName("group", group), checkName("id", id)); err != nil {
		return err
	}
	store, err := storeOf(ctx, n)
	if err != nil {
		return err
	}
	subject := timerSubject(group, id)
	_, err = wait.Do(ctx, func(ctx context.Context) (struct{}, error) {
		ctx, cancel := records.Request(ctx)
		defer cancel()
		for {
			have, err := store.Get(ctx, subject)
			if err != nil && !errors.Is(err, records.ErrAbsent) {
				return struct{}{}, err
			}
			t, bad := readTimer(have)
			if err != nil || have.Gone || bad != nil {
				return struct{}{}, fmt.Errorf("%w: %s of group %s", ErrNotFound, id, group)
			}
			if err := with(&t); err != nil {
				return struct{}{}, err
			}
			if _, err = store.Put(ctx, subject, t.encode(), have.Seq, ttl); !errors.Is(err, records.ErrConflict) {
				return struct{}{}, err
			}
		}
	})
	return err
}
