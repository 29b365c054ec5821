// Package sqlsink takes effects of durable work once in a database of one's own: the id of
// the run and the token of its owner are written in the same transaction as the effect.
//
//	sink, err := sqlsink.New(ctx, db)                     // makes its two tables
//	…
//	func(ctx context.Context, in Payment) (struct{}, error) {
//		run, _ := durable.RunOf(ctx)
//		return struct{}{}, sink.Apply(ctx, run, func(tx *sql.Tx) error {
//			_, err := tx.ExecContext(ctx, "UPDATE account SET sum = sum + $1 WHERE id = $2", in.Sum, in.Account)
//			return err
//		})
//	}
//
// Its statements are those of SQLite and PostgreSQL ($1, ON CONFLICT). With SQLite give
// the driver a time to wait for other writers (a busy timeout): without one a second
// writer fails at once, and its run is repeated after a second.
package sqlsink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

// Sink remembers in two tables which runs of which owners have had their effect:
// loopmesh_owner (the highest token of each owner) and loopmesh_applied (the ids). Any
// goroutine.
type Sink struct{ db *sql.DB }

var tables = []string{
	`CREATE TABLE IF NOT EXISTS loopmesh_owner (name TEXT PRIMARY KEY, token BIGINT NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS loopmesh_applied (owner TEXT NOT NULL, id TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (owner, id))`,
}

// New makes the tables in db where they are missing. It waits for the database, or until
// ctx ends. db stays its caller's, who closes it when nothing is applied any more.
func New(ctx context.Context, db *sql.DB) (*Sink, error) {
	if ctx == nil || db == nil {
		return nil, fmt.Errorf("%w: sqlsink: New needs a ctx and a database, not nil", cluster.ErrConfig)
	}
	_, err := wait.Do(ctx, func(ctx context.Context) (sql.Result, error) {
		for _, t := range tables {
			if _, err := db.ExecContext(ctx, t); err != nil {
				return nil, fmt.Errorf("sqlsink: making the tables: %w", err)
			}
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return &Sink{db}, nil
}

// Apply has the effect of fn once for each Owner and ID of a run: nil means that it is
// committed, by this call or by an earlier one. A token lower than that of an owner of the
// same name that has had an effect is refused with durable.ErrStale, and nothing is
// written; a run that was applied before does not count as an effect of who repeats it.
// fn works on tx only, which Apply commits or rolls back; what fn returns ends Apply. It is
// called on a goroutine of its own when Apply is called by a task, which waits meanwhile
// and its loop goes on. Apply waits for the database, or until ctx ends: then it is
// unknown whether the effect was had, and Apply again finds out. Errors: cluster.ErrConfig,
// durable.ErrBadID, durable.ErrStale, and those of the database.
func (s *Sink) Apply(ctx context.Context, run durable.Run, fn func(tx *sql.Tx) error) error {
	switch {
	case ctx == nil, fn == nil:
		return fmt.Errorf("%w: sqlsink: Apply needs a ctx and a function, not nil", cluster.ErrConfig)
	case run.Token == 0 || run.Owner == "":
		return fmt.Errorf("%w: sqlsink: Apply needs Owner and Token: those of durable.RunOf, or of an Ownership of package names", cluster.ErrConfig)
	case run.ID == "":
		return fmt.Errorf("%w: a run without one cannot be told from the next", durable.ErrBadID)
	}
	_, err := wait.Do(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.apply(ctx, run, fn) })
	return err
}

// How the database decides. The first statement of the transaction writes the owner's
// row, so whoever else applies for that owner waits behind it, or is told to try again:
// two runs never read one state and both write. A token that is lower than the row's
// changes no row, and that is how it shows. Then the id is looked for and written, then
// comes the effect; the end of the process anywhere before the commit leaves none of
// the three. An id that is there wins over a low token: what was done is done, and its
// old owner may hear so.
//
// apply is one attempt.
func (s *Sink) apply(ctx context.Context, run durable.Run, fn func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("sqlsink: %w", err)
	}
	done, err := decide(ctx, tx, run)
	if err == nil && !done {
		err = fn(tx)
	}
	if err != nil || done {
		return errors.Join(err, ended(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("sqlsink: %w", err)
	}
	return nil
}

// decide writes the token and the id, which also holds the owner's row until the end of
// the transaction: two that apply for one owner do so one after the other.
func decide(ctx context.Context, tx *sql.Tx, run durable.Run) (done bool, err error) {
	fresh, err := changed(tx.ExecContext(ctx, `INSERT INTO loopmesh_owner (name, token) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE loopmesh_owner.token <= excluded.token`, run.Owner, int64(run.Token)))
	if err != nil {
		return false, err
	}
	var had int
	switch err := tx.QueryRowContext(ctx, `SELECT 1 FROM loopmesh_applied WHERE owner = $1 AND id = $2`, run.Owner, run.ID).Scan(&had); {
	case err == nil:
		return true, nil // also of an owner that was replaced since: it is done
	case !errors.Is(err, sql.ErrNoRows):
		return false, fmt.Errorf("sqlsink: %w", err)
	case !fresh:
		return false, fmt.Errorf("%w: a later owner of %s has applied, this one has %d", durable.ErrStale, run.Owner, run.Token)
	}
	_, err = changed(tx.ExecContext(ctx, `INSERT INTO loopmesh_applied (owner, id, at) VALUES ($1, $2, $3)`, run.Owner, run.ID, time.Now().Unix()))
	return false, err
}

// Forget removes the ids that were applied before a moment, and says how many they were.
// A run that is repeated after its id is forgotten has its effect again: keep them for
// longer than anything may wait to be repeated. It waits as Apply does.
func (s *Sink) Forget(ctx context.Context, before time.Time) (count int64, err error) {
	if ctx == nil {
		return 0, fmt.Errorf("%w: sqlsink: Forget needs a ctx, not nil", cluster.ErrConfig)
	}
	return wait.Do(ctx, func(ctx context.Context) (int64, error) {
		r, err := s.db.ExecContext(ctx, `DELETE FROM loopmesh_applied WHERE at < $1`, before.Unix())
		if err != nil {
			return 0, fmt.Errorf("sqlsink: %w", err)
		}
		return r.RowsAffected()
	})
}

func changed(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, fmt.Errorf("sqlsink: %w", err)
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// ended is the error of a Rollback that matters: a transaction that its ctx ended is
// rolled back already.
func ended(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}
