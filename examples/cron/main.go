// Command cron is a durable schedule: a report each time of a rule, by whichever of its
// processes lives, into a SQLite database. Kill them as you like: no time is lost, and
// none is in the database twice.
//
//	go run ./examples/cron store /tmp/cron                          # keeps the schedules, prints where to join
//	go run ./examples/cron work w1 127.0.0.1:41234 /tmp/reports.db  # runs the reports; start several
//	go run ./examples/cron add 127.0.0.1:41234 nightly '@every 2s'
//	go run ./examples/cron show 127.0.0.1:41234 /tmp/reports.db
//
// See README.md.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	_ "modernc.org/sqlite"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/durable/sqlsink"
	"github.com/loopmesh/loopmesh/loopnode"
)

const group = "reports"

// report is what the schedules call. Workers run it.
var report = cluster.Declare[string, struct{}]("cron.report")

// reports is the database of a worker.
type reports struct {
	sink *sqlsink.Sink
	db   *sql.DB
}

// report may run twice for one time, when its process dies behind it: the row is
// written in one transaction with the id of the run, once.
func (r *reports) report(ctx context.Context, name string) (struct{}, error) {
	run, _ := durable.RunOf(ctx)
	return struct{}{}, r.sink.Apply(ctx, run, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO report (name, due) VALUES ($1, $2)`, name, run.Due.UnixMilli())
		return err
	})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
}

const usage = "usage: cron store FOLDER [HOST:PORT] | work NAME HOST:PORT DATABASE | add HOST:PORT ID RULE | show HOST:PORT DATABASE"

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) >= 2 && len(args) <= 3 && args[0] == "store":
		at := "127.0.0.1:0"
		if len(args) == 3 {
			at = args[2]
		}
		return serve(ctx, out, cluster.Config{Name: "store", Listen: at, StoreDir: args[1]})
	case len(args) == 4 && args[0] == "work":
		r, err := open(ctx, args[3])
		if err != nil {
			return err
		}
		defer r.db.Close()
		return serve(ctx, out, cluster.Config{Name: args[1], Join: []string{args[2]}, Prepare: r.work})
	case len(args) == 4 && args[0] == "add":
		return visit(ctx, args[1], func(n *cluster.Node) error {
			return durable.Repeat(ctx, n, args[2], report, args[2], args[3], durable.Group(group))
		})
	case len(args) == 3 && args[0] == "show":
		r, err := open(ctx, args[2])
		if err != nil {
			return err
		}
		defer r.db.Close()
		return visit(ctx, args[1], func(n *cluster.Node) error { return r.show(ctx, n, out) })
	}
	return errors.New(usage)
}

// serve runs a node until ctx ends.
func serve(ctx context.Context, out io.Writer, cfg cluster.Config) error {
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: cfg.Name, Level: hclog.Warn})
	node, err := cluster.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer node.Close()
	fmt.Fprintln(out, "join:", node.URL())
	<-ctx.Done()
	return nil
}

// open makes the tables where they are missing. A writer waits for the others up to 10 s.
func open(ctx context.Context, file string) (*reports, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS report (name TEXT NOT NULL, due BIGINT NOT NULL)`)
	var sink *sqlsink.Sink
	if err == nil {
		sink, err = sqlsink.New(ctx, db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", file, err), db.Close())
	}
	return &reports{sink, db}, nil
}

// work lets the node run the reports whenever it is the one that owns them.
func (r *reports) work(_ context.Context, node *cluster.Node) error {
	report.Handle(r.report)
	loop, err := node.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = hclog.NewNullLogger() })
	if err != nil {
		return err
	}
	_, err = durable.Serve(node, group, loop)
	return err
}

// visit joins for as long as do takes.
func visit(ctx context.Context, at string, do func(*cluster.Node) error) error {
	node, err := cluster.Start(ctx, cluster.Config{Join: []string{at}, Logger: hclog.NewNullLogger()})
	if err != nil {
		return err
	}
	defer node.Close()
	return do(node)
}

// show prints each schedule, how many reports it has made, and for how many times.
func (r *reports) show(ctx context.Context, node *cluster.Node, out io.Writer) error {
	list, err := durable.Timers(ctx, node, group)
	if err != nil {
		return err
	}
	for _, t := range list {
		var rows, times int
		err := r.db.QueryRowContext(ctx, `SELECT count(*), count(DISTINCT due) FROM report WHERE name = $1`, t.ID).Scan(&rows, &times)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s %s %s next %s made %d for %d\n", t.ID, t.Rule, t.State, t.Due.Format(time.RFC3339), rows, times)
	}
	return nil
}
