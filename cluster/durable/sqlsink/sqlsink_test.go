package sqlsink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/loopnode"
)

// bank is a database with one account, in a file.
func bank(t *testing.T) (*Sink, *sql.DB) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "bank.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Exec(`CREATE TABLE account (id TEXT PRIMARY KEY, sum BIGINT NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO account VALUES ('a', 0)`); err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}

func one(tx *sql.Tx) error {
	_, err := tx.Exec(`UPDATE account SET sum = sum + 1 WHERE id = 'a'`)
	return err
}

func sum(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRow(`SELECT sum FROM account WHERE id = 'a'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func by(token uint64, id string) durable.Run {
	return durable.Run{Owner: "timers/shop", Token: token, ID: id}
}

func TestAnEffectIsHadOnce(t *testing.T) {
	s, db := bank(t)
	for range 3 {
		if err := s.Apply(t.Context(), by(7, "one"), one); err != nil {
			t.Fatal(err)
		}
	}
	if n := sum(t, db); n != 1 {
		t.Errorf("%d effects", n)
	}
}

func TestAReplacedOwnerIsRefused(t *testing.T) {
	s, db := bank(t)
	if err := s.Apply(t.Context(), by(9, "one"), one); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), by(8, "two"), one); !errors.Is(err, durable.ErrStale) {
		t.Errorf("%v", err)
	}
	if err := s.Apply(t.Context(), by(8, "one"), one); err != nil {
		t.Error("what was applied before is not stale:", err)
	}
	if err := s.Apply(t.Context(), durable.Run{Owner: "queue/mail", Token: 3, ID: "one"}, one); err != nil {
		t.Error("the token and the ids of another name:", err)
	}
	if n := sum(t, db); n != 2 {
		t.Errorf("%d effects", n)
	}
}

func TestAnEffectThatFailsIsNotRemembered(t *testing.T) {
	s, db := bank(t)
	broken := errors.New("broken")
	err := s.Apply(t.Context(), by(7, "one"), func(tx *sql.Tx) error { return errors.Join(one(tx), broken) })
	if !errors.Is(err, broken) || sum(t, db) != 0 {
		t.Errorf("%v, %d effects", err, sum(t, db))
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.Apply(ctx, by(7, "one"), func(tx *sql.Tx) error { err := one(tx); cancel(); return err })
	if !errors.Is(err, context.Canceled) || sum(t, db) != 0 {
		t.Errorf("%v, %d effects", err, sum(t, db))
	}
	if err := s.Apply(t.Context(), by(7, "one"), one); err != nil || sum(t, db) != 1 {
		t.Errorf("%v, %d effects", err, sum(t, db))
	}
}

// Two owners at once, one of them replaced: each run has its effect once, and none of the
// old owner's comes behind the new owner's first.
func TestOwnersAtOnce(t *testing.T) {
	s, db := bank(t)
	const runs = 100
	var all sync.WaitGroup
	var had sync.Map
	for token := uint64(1); token <= 4; token++ {
		all.Go(func() {
			for i := range runs {
				switch err := s.Apply(t.Context(), by(token, fmt.Sprint(i)), one); {
				case err == nil:
					had.Store(i, true)
				case !errors.Is(err, durable.ErrStale):
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i := range runs {
		if _, ok := had.Load(i); !ok {
			t.Errorf("run %d has had no effect", i)
		}
	}
	if n := sum(t, db); n != runs {
		t.Errorf("%d effects of %d runs", n, runs)
	}
}

func TestForget(t *testing.T) {
	s, db := bank(t)
	if err := s.Apply(t.Context(), by(7, "one"), one); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Forget(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.Forget(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := s.Apply(t.Context(), by(7, "one"), one); err != nil || sum(t, db) != 2 {
		t.Errorf("%v, %d effects", err, sum(t, db))
	}
}

// While a task waits for the database its loop goes on.
func TestALoopGoesOnMeanwhile(t *testing.T) {
	s, db := bank(t)
	err := loopnode.Run(t.Context(), func(ctx context.Context) error {
		turned := make(chan struct{})
		return s.Apply(ctx, by(7, "one"), func(tx *sql.Tx) error {
			loop, err := loopnode.Running(ctx)
			if err != nil {
				return err
			}
			if err := loop.Ref().CallSoonThreadsafe(func() { close(turned) }); err != nil {
				return err
			}
			select {
			case <-turned:
				return one(tx)
			case <-time.After(10 * time.Second):
				return errors.New("the loop stands still")
			}
		})
	})
	if err != nil || sum(t, db) != 1 {
		t.Errorf("%v, %d effects", err, sum(t, db))
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	s, db := bank(t)
	for _, run := range []durable.Run{{}, {Owner: "a", ID: "b"}, {Token: 1, ID: "b"}} {
		if err := s.Apply(t.Context(), run, one); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("%+v: %v", run, err)
		}
	}
	if err := s.Apply(t.Context(), durable.Run{Owner: "a", Token: 1}, one); !errors.Is(err, durable.ErrBadID) {
		t.Error(err)
	}
	if err := s.Apply(t.Context(), by(1, "x"), nil); !errors.Is(err, cluster.ErrConfig) {
		t.Error(err)
	}
	if _, err := New(t.Context(), nil); !errors.Is(err, cluster.ErrConfig) {
		t.Error(err)
	}
	if n := sum(t, db); n != 0 {
		t.Errorf("%d effects", n)
	}
}
