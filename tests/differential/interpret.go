package differential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/looptest"
	"github.com/loopmesh/loopmesh/loopnode/tasksync"
)

// unit is one unit of a program's time.
const unit = time.Second / 512

// rounds is how often what has not ended is cancelled. Two tasks that each wait to have
// their lock back for a condition, while the other one holds it, never end.
const rounds = 20

// most is how many tasks, and how many callbacks, a run has: bodies start each other.
const most = 40

// failure is what the programs raise and set.
type failure int

func (f failure) Error() string { return fmt.Sprintf("failure%d", int(f)) }

// awaitable is a future, task or shield with the oldest task that it stands for: who
// waits for it must be older, so that no circle of waits arises.
type awaitable struct {
	loopnode.Awaitable[int]
	low int
}

type doneCallbacks interface {
	AddDoneCallback(func(*loopnode.Future[int])) loopnode.CallbackID
}

// run is one run of a program. Owned by its loop.
type run struct {
	p          *Program
	loop       *loopnode.Loop
	lines      []string
	vars       []awaitable
	futures    []*loopnode.Future[int]
	events     []*tasksync.Event
	locks      []*tasksync.Lock
	conditions []*tasksync.Condition
	semaphores []*tasksync.Semaphore
	queues     []*tasksync.Queue[int]
	barriers   []*tasksync.Barrier
	handles    []func() // cancel
	tasks      []*loopnode.Task[int]
	seq        int
	timed      int64 // steps that took time
}

// Interpret runs p on a loop with a virtual clock and returns its log.
func Interpret(p *Program) ([]string, error) {
	l, _, err := looptest.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	r, err := newRun(p, l)
	if err != nil {
		return nil, err
	}
	l.SetExceptionHandler(func(_ *loopnode.Loop, ec loopnode.ExceptionContext) {
		if !strings.Contains(ec.Message, "never retrieved") && !strings.Contains(ec.Message, "was destroyed") {
			r.lines = append(r.lines, "handler "+word(ec.Exception))
		}
	})
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "main", func(ctx context.Context) (int, error) { return 0, r.main(ctx) }))
	l.SetExceptionHandler(func(*loopnode.Loop, loopnode.ExceptionContext) {})
	return r.lines, err
}

func newRun(p *Program, l *loopnode.Loop) (*run, error) {
	r := &run{p: p, loop: l}
	for range p.Futures {
		f := loopnode.NewFuture[int](l)
		r.futures = append(r.futures, f)
		r.vars = append(r.vars, awaitable{f, 1 << 30})
	}
	for range p.Events {
		r.events = append(r.events, &tasksync.Event{})
	}
	for range p.Locks {
		k := &tasksync.Lock{}
		r.locks, r.conditions = append(r.locks, k), append(r.conditions, tasksync.NewCondition(k))
	}
	for _, n := range p.Semaphores {
		s, err := tasksync.NewSemaphore(n)
		if err != nil {
			return nil, err
		}
		r.semaphores = append(r.semaphores, s)
	}
	for _, n := range p.Queues {
		r.queues = append(r.queues, tasksync.NewQueue[int](n))
	}
	for _, n := range p.Barriers {
		b, err := tasksync.NewBarrier(n)
		if err != nil {
			return nil, err
		}
		r.barriers = append(r.barriers, b)
	}
	return r, nil
}

// main runs the program's first task, and cancels all that have not ended again and
// again.
func (r *run) main(ctx context.Context) error {
	if err := r.spawn(ctx, 0, nil); err != nil {
		return err
	}
	for range rounds {
		var alive []loopnode.Waiter
		for _, t := range r.tasks {
			if !t.Done() {
				alive = append(alive, t)
			}
		}
		if len(alive) == 0 {
			break
		}
		if _, _, err := loopnode.Wait(ctx, alive, loopnode.WaitAtMost(time.Duration(r.p.End)*unit)); err != nil {
			return err
		}
		for _, t := range alive {
			t.Cancel()
		}
	}
	for i, v := range r.vars {
		what := "pending"
		if v.Done() {
			what = ending(v)
		}
		r.lines = append(r.lines, fmt.Sprintf("end %d %s", i, what))
	}
	return nil
}

// word is one word for an error, the same in both languages.
func word(err error) string {
	var group *loopnode.GroupError
	var f failure
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &group):
		var all []string
		for _, e := range group.Errs {
			all = append(all, word(e))
		}
		return "group(" + strings.Join(all, ",") + ")"
	case errors.Is(err, loopnode.ErrCancelled):
		return "cancelled"
	case errors.Is(err, loopnode.ErrTimeout):
		return "timeout"
	case errors.As(err, &f):
		return f.Error()
	case errors.Is(err, tasksync.ErrBrokenBarrier):
		return "broken barrier"
	case errors.Is(err, tasksync.ErrQueueEmpty):
		return "empty"
	case errors.Is(err, tasksync.ErrQueueFull):
		return "full"
	case errors.Is(err, loopnode.ErrInvalidState), errors.Is(err, tasksync.ErrTooManyReleases), errors.Is(err, tasksync.ErrTooManyDone):
		return "state"
	}
	return err.Error()
}

func ending(w loopnode.Waiter) string {
	if w.Cancelled() {
		return "cancelled"
	}
	return word(w.Exception())
}

func (r *run) log(who string, s *Step, what string) {
	r.lines = append(r.lines, fmt.Sprintf("%d %s %d %s", time.Duration(r.loop.Time())/unit, who, s.ID, what))
}

// time is how long a step takes. Sums of such times are next to never equal: CPython
// shuffles equal deadlines (differences.md, SCH-15).
func (r *run) time(s *Step) time.Duration {
	if s.D == 0 {
		return 0
	}
	r.timed++
	return time.Duration(s.D*1000000+r.timed*r.timed*r.timed*7919%999983) * unit
}

// who is the task that a step runs in.
type who struct {
	seq   int
	name  string
	group *loopnode.TaskGroup
}

func (r *run) spawn(ctx context.Context, body int, g *loopnode.TaskGroup) error {
	r.seq++
	me := who{seq: r.seq, name: "t" + strconv.Itoa(r.seq)}
	fn := func(ctx context.Context) (int, error) { return me.seq, r.block(ctx, me, r.p.Tasks[body]) }
	var t *loopnode.Task[int]
	if g == nil {
		t = loopnode.CreateTask(ctx, me.name, fn)
	} else if t = loopnode.GroupTask(g, me.name, fn); t.Done() {
		return t.Exception()
	}
	r.tasks = append(r.tasks, t)
	r.vars = append(r.vars, awaitable{t, me.seq})
	return nil
}

func (r *run) block(ctx context.Context, me who, b Block) error {
	for i := range b {
		if err := r.step(ctx, me, &b[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) step(ctx context.Context, me who, s *Step) error {
	what, err := r.do(ctx, me, s)
	if err == nil {
		r.log(me.name, s, what)
		return nil
	}
	r.log(me.name, s, word(err))
	if s.Catch == "all" || s.Catch == "errors" && word(err) != "cancelled" {
		return nil
	}
	return err
}

func (r *run) named(me who, n int) (awaitable, bool) {
	if n >= len(r.vars) || r.vars[n].low <= me.seq {
		return awaitable{}, false
	}
	return r.vars[n], true
}

func (r *run) some(me who, s *Step) (out []loopnode.Awaitable[int]) {
	for _, n := range s.Vars {
		if v, ok := r.named(me, n); ok {
			out = append(out, v.Awaitable)
		}
	}
	return out
}

func ok(err error) (string, error) { return "ok", err }

func got(n int, err error) (string, error) { return "got " + strconv.Itoa(n), err }

func (r *run) do(ctx context.Context, me who, s *Step) (string, error) {
	inner := func(ctx context.Context) error { return r.block(ctx, me, s.Block) }
	switch {
	case s.Op == "sleep":
		return ok(loopnode.Sleep(ctx, r.time(s)))
	case s.Op == "spawn" && me.group != nil && r.seq < most:
		return ok(r.spawn(ctx, s.N, me.group))
	case s.Op == "await":
		v, found := r.named(me, s.A)
		if !found {
			return "none", nil
		}
		return got(v.Await(ctx))
	case s.Op == "gather":
		return r.gather(ctx, me, s)
	case s.Op == "wait":
		return r.wait(ctx, me, s)
	case s.Op == "timeout":
		return ok(loopnode.Timeout(ctx, r.time(s), inner))
	case s.Op == "group":
		return ok(loopnode.WithTaskGroup(ctx, func(ctx context.Context, g *loopnode.TaskGroup) error {
			me.group = g
			return r.block(ctx, me, s.Block)
		}))
	case s.Op == "finally":
		err := inner(ctx)
		if e := r.block(ctx, me, s.Other); e != nil {
			err = e
		}
		return ok(err)
	case s.Op == "event" && s.N == 0:
		return ok(r.events[s.A].Wait(ctx))
	case s.Op == "lock":
		return ok(held(ctx, r.locks[s.A], inner))
	case s.Op == "condition":
		c := r.conditions[s.A]
		return ok(held(ctx, c, func(ctx context.Context) error {
			if err := c.Wait(ctx); err != nil {
				return err
			}
			return inner(ctx)
		}))
	case s.Op == "semaphore":
		return ok(held(ctx, r.semaphores[s.A], inner))
	case s.Op == "queue" && s.N == 0:
		return got(r.queues[s.A].Get(ctx))
	case s.Op == "queue" && s.N == 1:
		return ok(r.queues[s.A].Put(ctx, s.ID))
	case s.Op == "queue" && s.N == 5:
		return ok(r.queues[s.A].Join(ctx))
	case s.Op == "barrier":
		return got(r.barriers[s.A].Wait(ctx))
	case s.Op == "cancelling", s.Op == "uncancel":
		return r.requests(ctx, s.Op == "uncancel")
	case s.Op == "generate":
		return r.generate(ctx, me, s)
	}
	return r.simple(ctx, s)
}

// held is a block under a lock, a condition or a semaphore.
func held(ctx context.Context, k interface {
	Acquire(context.Context) error
	Release() error
}, body func(context.Context) error) error {
	if err := k.Acquire(ctx); err != nil {
		return err
	}
	err := body(ctx)
	if e := k.Release(); e != nil {
		return e
	}
	return err
}

func (r *run) requests(ctx context.Context, take bool) (string, error) {
	me, found := loopnode.CurrentTask(ctx)
	if !found {
		return "", errors.New("no current task")
	}
	n := me.Cancelling()
	if take && n == 0 {
		return "none", nil
	}
	if take {
		n = me.Uncancel()
	}
	return strconv.Itoa(n), nil
}

func (r *run) gather(ctx context.Context, me who, s *Step) (string, error) {
	vs := r.some(me, s)
	var all []string
	if s.N == 1 {
		outcomes, err := loopnode.GatherAll(ctx, vs...)
		for _, o := range outcomes {
			if o.Err != nil {
				all = append(all, word(o.Err))
				continue
			}
			all = append(all, strconv.Itoa(o.Value))
		}
		return "got " + strings.Join(all, ","), err
	}
	values, err := loopnode.Gather(ctx, vs...)
	for _, v := range values {
		all = append(all, strconv.Itoa(v))
	}
	return "got " + strings.Join(all, ","), err
}

func (r *run) wait(ctx context.Context, me who, s *Step) (string, error) {
	var ws []loopnode.Waiter
	for _, v := range r.some(me, s) {
		ws = append(ws, v)
	}
	if len(ws) == 0 {
		return "none", nil
	}
	opts := []loopnode.WaitOption{loopnode.WaitUntil([]loopnode.ReturnWhen{loopnode.AllCompleted, loopnode.FirstCompleted, loopnode.FirstException}[s.N])}
	if s.D != 0 {
		opts = append(opts, loopnode.WaitAtMost(r.time(s)))
	}
	done, pending, err := loopnode.Wait(ctx, ws, opts...)
	all := make([]string, 0, len(ws))
	for _, w := range ws {
		n := "0"
		// A shield of what is done is that itself, and told once.
		if slices.Contains(done, w) || w.Done() && !slices.Contains(pending, w) {
			n = "1"
		}
		all = append(all, n)
	}
	return "done " + strings.Join(all, ","), err
}

func (r *run) generate(ctx context.Context, me who, s *Step) (what string, err error) {
	g := loopnode.NewGenerator(func(ctx context.Context, yield func(int) error) error {
		for i := range s.Block {
			if err := r.step(ctx, me, &s.Block[i]); err != nil {
				return err
			}
			if err := yield(i); err != nil {
				return err
			}
		}
		return nil
	})
	defer func() {
		if e := g.Close(ctx); e != nil {
			err = e
		}
	}()
	var all []string
	for range s.N {
		v, more, err := g.Next(ctx)
		switch {
		case err != nil:
			return "", err
		case more:
			all = append(all, strconv.Itoa(v))
		default:
			all = append(all, "end")
		}
	}
	return "got " + strings.Join(all, ","), nil
}

// simple is what does not wait, in tasks and callbacks.
func (r *run) simple(ctx context.Context, s *Step) (string, error) {
	var v awaitable
	switch s.Op {
	case "cancel", "shield", "state", "done":
		if s.A >= len(r.vars) {
			return "none", nil
		}
		v = r.vars[s.A]
	case "set", "fail":
		if s.A >= len(r.futures) {
			return "none", nil
		}
	}
	switch s.Op {
	case "log":
	case "cancel":
		return map[bool]string{true: "1", false: "0"}[v.Cancel()], nil
	case "set":
		return ok(r.futures[s.A].SetResult(s.N))
	case "fail":
		return ok(r.futures[s.A].SetException(failure(s.N)))
	case "shield":
		r.vars = append(r.vars, awaitable{loopnode.Shield(ctx, v.Awaitable), v.low})
	case "state":
		return state(v), nil
	case "event":
		if s.N == 1 {
			r.events[s.A].Set()
		} else {
			r.events[s.A].Clear()
		}
	case "notify":
		if s.N == 0 {
			return ok(r.conditions[s.A].NotifyAll())
		}
		return ok(r.conditions[s.A].Notify(s.N))
	case "queue":
		return r.queue(s)
	case "soon", "later":
		if len(r.handles) >= most {
			return "none", nil
		}
		return ok(r.schedule(s))
	case "unschedule":
		if s.A >= len(r.handles) {
			return "none", nil
		}
		r.handles[s.A]()
	case "done":
		v.Awaitable.(doneCallbacks).AddDoneCallback(func(f *loopnode.Future[int]) { r.log("d", s, ending(f)) })
	case "raise":
		return "", failure(s.N)
	case "spawn":
		if r.seq >= most {
			return "none", nil
		}
		return ok(r.spawn(ctx, s.N, nil))
	default:
		return "", fmt.Errorf("no such op: %s", s.Op)
	}
	return "ok", nil
}

func state(v awaitable) string {
	switch {
	case !v.Done():
		return "pending"
	case v.Cancelled():
		return "cancelled"
	}
	n, err := v.Result()
	if err != nil {
		return "done " + word(err)
	}
	return "done " + strconv.Itoa(n)
}

func (r *run) queue(s *Step) (string, error) {
	switch q := r.queues[s.A]; s.N {
	case 2:
		return got(q.TryGet())
	case 3:
		return ok(q.TryPut(s.ID))
	default:
		return ok(q.TaskDone())
	}
}

func (r *run) schedule(s *Step) error {
	call := func() { r.callback(s.N) }
	switch {
	case s.Op == "later":
		h := r.loop.CallLater(r.time(s), call)
		r.handles = append(r.handles, h.Cancel)
	case s.A == 1:
		h, err := r.loop.Ref().CallSoonThreadsafeHandle(call)
		if err != nil {
			return err
		}
		r.handles = append(r.handles, func() { h.Cancel() })
	default:
		h := r.loop.CallSoon(call)
		r.handles = append(r.handles, h.Cancel)
	}
	return nil
}

func (r *run) callback(n int) {
	name := "c" + strconv.Itoa(n)
	ctx := r.loop.Context(context.Background())
	for i := range r.p.Callbacks[n] {
		s := &r.p.Callbacks[n][i]
		what, err := r.simple(ctx, s)
		if err == nil {
			r.log(name, s, what)
			continue
		}
		r.log(name, s, word(err))
		if s.Catch == "" {
			panic(err)
		}
	}
}
