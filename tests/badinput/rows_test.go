package badinput

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the runtime's own poller exists from here on
		_ = ln.Close()
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}

// patience bounds every wait; no row is expected to use it.
const patience = 20 * time.Second

// row is one thing that is done wrong and the answer to it.
type row struct {
	name string
	do   func(e *env) error // a task of a fresh loop
	is   error              // the sentinel; nil: it is accepted
	says []string           // what the text of the error has in it
	// reports is what the text of a report to the exception handler has in it.
	// Without it nothing may be reported.
	reports string
}

// env is where a row runs.
type env struct {
	*testing.T
	ctx  context.Context // of the task
	loop *loopnode.Loop
	pool *loopnode.Pool
	log  *strings.Builder
	told []string
}

// check runs each row on a loop of its own and counts what it leaves.
func check(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			ignore := goleak.IgnoreCurrent()
			before := descriptors(t)
			told, err := alone(t, r.do)
			judge(t, r, err, told)
			if err := goleak.Find(ignore); err != nil {
				t.Error(err)
			}
			if after := descriptors(t); len(after) > len(before) {
				t.Errorf("descriptors before %v, after %v", before, after)
			}
		})
	}
}

// judge compares the answer with the row.
func judge(t *testing.T, r row, err error, told []string) {
	t.Helper()
	t.Logf("error: %v", err)
	if !errors.Is(err, r.is) || r.is == nil && err != nil {
		t.Errorf("got %v, want %v", err, r.is)
	}
	for _, s := range r.says {
		if !strings.Contains(fmt.Sprint(err), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
	all := strings.Join(told, "\n")
	if r.reports == "" && all != "" || !strings.Contains(all, r.reports) {
		t.Errorf("reported %q, want %q", all, r.reports)
	}
}

// noCtx is what a caller passes who forgot it.
var noCtx context.Context

// alone runs do as a task of a fresh loop, closes the loop, and returns what do
// returned and what the exception handler was told.
func alone(t *testing.T, do func(e *env) error) (told []string, got error) {
	t.Helper()
	var log strings.Builder
	e := &env{T: t, pool: loopnode.NewPool(2), log: &log}
	l, err := loopnode.New(loopnode.Config{
		Name: "bad", Executor: e.pool,
		Logger: hclog.New(&hclog.LoggerOptions{Output: writer{&log}, Level: hclog.Info}),
		ExceptionHandler: func(_ *loopnode.Loop, ec loopnode.ExceptionContext) {
			e.told = append(e.told, fmt.Sprint(ec.Message, ": ", ec.Exception))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.loop = l
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(ctx), "row", func(ctx context.Context) (int, error) {
		e.ctx = ctx
		err := do(e)
		for range 3 { // what the row scheduled runs
			_ = loopnode.Sleep(ctx, 0)
		}
		return 0, err
	}))
	if ctx.Err() != nil {
		t.Errorf("it took longer than %v", patience)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := e.pool.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	return e.told, err
}

// writer hides that a Builder is one, which hclog would ask.
type writer struct{ io.Writer }

// descriptors lists the open descriptors of this process and what they lead to,
// without those that the runtime (cgroup limits) and the NATS server (its own
// memory use) open for a moment to read a figure. It is empty where the system
// does not tell.
func descriptors(t *testing.T) (out []string) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, f := range list {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && !strings.HasPrefix(to, "/proc/") && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
			out = append(out, f.Name()+"="+to)
		}
	}
	return out
}

// second leaves out a first value that has to be the zero one beside an error.
func second[T comparable](v T, err error) error {
	var zero T
	if err != nil && v != zero {
		return fmt.Errorf("%v beside the error %w", v, err)
	}
	return err
}
