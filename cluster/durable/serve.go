package durable

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/schedule"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Server stands by for a group of calls for later, or for a queue of commands, and runs
// them on its loop while its node owns the group. Serve makes one; Stop it, or close its
// node or loop. Any goroutine.
type Server struct {
	node  *cluster.Node
	loop  loopnode.Ref
	name  string // in package names
	log   hclog.Logger
	store *records.Records

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	work   sync.WaitGroup
	stats  counters

	standing  context.Context // ends when it owns nothing more: with Stop, and with finish
	sit       context.CancelFunc
	finishing chan struct{} // closed by finish
	once      sync.Once     // of finish
}

// Stats are the counters of a Server since it was made, and some levels.
type Stats struct {
	Owner   bool   `json:"owner"`   // its node owns the group
	Waiting int    `json:"waiting"` // calls for later in its heap; commands taken and not begun
	Running int    `json:"running"`
	Ran     uint64 `json:"ran"`     // to an end without an error
	Failed  uint64 `json:"failed"`  // attempts that ended in an error
	Dead    uint64 `json:"dead"`    // that failed as often as they may
	Garbage uint64 `json:"garbage"` // records that could not be read
}

type counters struct {
	owner                      atomic.Bool
	waiting, running           atomic.Int64
	ran, failed, dead, garbage atomic.Uint64
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	c := &s.stats
	return Stats{c.owner.Load(), int(c.waiting.Load()), int(c.running.Load()), c.ran.Load(), c.failed.Load(), c.dead.Load(), c.garbage.Load()}
}

// Serve lets a node run the calls for later of a group on a loop of its own, whenever it
// owns the group: one of all nodes that serve it does, the others stand by. The functions
// have to be registered in this program. It does not wait. At most 256 calls of the
// group run at a time; more that are due wait for them. Errors: ErrBadID, ErrConfig for
// a loop that is not of this process.
func Serve(n *cluster.Node, group string, loop loopnode.Ref) (*Server, error) {
	if err := checkName("group", group); err != nil {
		return nil, err
	}
	return serve(n, "timers/"+group, loop, func(s *Server, o *names.Ownership, local *loopnode.Loop) {
		(&timers{Server: s, group: group, owner: o, host: &host{node: n, loop: local, tasks: map[*loopnode.Task[struct{}]]struct{}{}}}).run()
	})
}

// serve stands by for a name and calls own each time the node owns it.
func serve(n *cluster.Node, name string, loop loopnode.Ref, own func(*Server, *names.Ownership, *loopnode.Loop)) (*Server, error) {
	if n == nil {
		return nil, fault.Config("durable: a node is needed, not nil")
	}
	local, ok := loop.Local()
	if !ok {
		return nil, fault.Config("durable: the loop %s is not of this process: a node serves on its own loops", loop)
	}
	parts := n.Inside(inside.Key{})
	s := &Server{node: n, loop: loop, name: name, log: parts.Log.Named("durable").With("name", name), store: records.Of(parts)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.standing, s.sit = context.WithCancel(s.ctx)
	s.finishing = make(chan struct{})
	// goroutine: owner: Server; ends when Stop, or the end of its loop or node, cancels s.ctx
	s.work.Go(func() { s.standBy(local, own) })
	parts.OnDrain(s.Stop)
	parts.OnFinish(inside.Finisher{Finish: s.finish, Left: s.left})
	unhook := local.OnClose(s.cancel)
	context.AfterFunc(s.ctx, unhook)
	return s, nil
}

// Stop ends the runs, waits for them at most two seconds, and lets another node own the
// group. Not from the Server's loop: it waits for it.
func (s *Server) Stop() {
	s.cancel()
	s.work.Wait()
}

// finish begins nothing more and waits until what runs has ended by itself, or ctx has;
// then what still runs is given back, as by Stop. What was taken and not begun is given back
// at once: the next owner has it when this one's last run has ended.
func (s *Server) finish(ctx context.Context) {
	s.once.Do(func() { close(s.finishing) })
	s.sit()
	ended := make(chan struct{})
	// goroutine: owner: finish; ends when the Server's work has, at the latest when Stop has
	go func() {
		s.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	s.cancel()
}

// finished reports whether nothing more is begun.
func (s *Server) finished() bool { return s.standing.Err() != nil }

// left says what finish waits for.
func (s *Server) left() string {
	if n := s.stats.running.Load(); n > 0 {
		return fmt.Sprintf("%d of %s", n, s.name)
	}
	return ""
}

// again is how long a server rests after an error that is not about a majority.
const again = time.Second

// standBy owns the name as often as it can. An ownership ends when its node loses the
// name, when the server is stopped, or when the loop is closed; each time the name is
// released, which is nothing when it was lost.
func (s *Server) standBy(local *loopnode.Loop, own func(*Server, *names.Ownership, *loopnode.Loop)) {
	for s.standing.Err() == nil {
		o, err := names.Acquire(s.standing, s.node, s.name, s.loop)
		if err != nil {
			if s.standing.Err() != nil || errors.Is(err, cluster.ErrClosed) {
				return
			}
			s.log.Error("this node cannot stand by; it tries again", "error", err)
			pause := time.NewTimer(again)
			select {
			case <-pause.C:
			case <-s.standing.Done():
			}
			pause.Stop()
			continue
		}
		s.log.Info("this node runs the durable work", "token", o.Token())
		s.stats.owner.Store(true)
		own(s, o, local)
		s.stats.owner.Store(false)
		s.stats.waiting.Store(0)
		ctx, cancel := context.WithTimeout(context.Background(), again)
		if err := o.Release(ctx); err != nil {
			s.log.Warn("the name could not be released", "error", err)
		}
		cancel()
	}
}

// How a call for later runs. The follower tells the records of the group, the run
// goroutine keeps them in the schedule and sleeps until the first one is due. It then
// looks once more whether the node still owns the group (Held), and posts the function
// to the loop. When the function has ended, a goroutine writes the next record against
// the sequence of the one that ran: done, or the next time, or the next attempt. The
// follower tells that record, too. Between the end of the function and that write lies
// the only moment in which a death makes the call run twice.
//
// Who is not the owner any more starts nothing, cancels what runs, and may still write
// down what has run: that the function returned nil is true whoever owns the group, and
// the sequence keeps it from undoing what the next owner wrote.

// timers runs the calls for later of one group during one ownership. Its run goroutine
// owns the schedule; records, ends of runs and the time come to it through channels.
type timers struct {
	*Server
	group string
	owner *names.Ownership
	host  *host

	schedule *schedule.Schedule
	dead     *deadOnes
	news     chan news
	ended    chan string // ids whose run has ended and is written down
	caught   bool
}

// news is what the follower says: a record, or reset or caught.
type news struct {
	rec           records.Record
	reset, caught bool
}

const (
	maxRunning = 256
	patience   = 2 * time.Second       // with runs that were cancelled
	unsure     = 50 * time.Millisecond // between two looks whether others take the node for alive again
)

var origin = time.Now()

func clock() schedule.Clock {
	now := time.Now()
	return schedule.Clock{Mono: now.Sub(origin), Wall: now.Round(0)}
}

// run serves until the ownership or the server ends.
func (t *timers) run() {
	t.schedule, t.news, t.ended = schedule.New(), make(chan news), make(chan string, maxRunning)
	t.dead = newDeadOnes(t.node)
	defer t.dead.forget()
	ctx, cancel := context.WithCancel(t.ctx)
	var reading sync.WaitGroup
	// goroutine: owner: run; ends when run cancels ctx
	reading.Go(func() {
		t.store.Follow(ctx, []string{timerPrefix + records.Token(t.group) + ".*"}, follower{ctx, t.news})
	})
	timer, finishing := time.NewTimer(0), t.finishing
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-finishing:
			finishing = nil
		case n := <-t.news:
			t.hear(n)
		case id := <-t.ended:
			t.schedule.Finished(id)
		case <-timer.C:
		case <-t.owner.Done():
			cancel()
		case <-ctx.Done():
		}
		timer.Reset(t.fire())
		if t.finished() && t.schedule.Running() == 0 {
			break
		}
	}
	cancel()
	t.finish()
	reading.Wait()
}

// finish cancels what runs and waits for it.
func (t *timers) finish() {
	t.host.cancel("this node does not own the durable work any more")
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for t.schedule.Running() > 0 {
		select {
		case id := <-t.ended:
			t.schedule.Finished(id)
		case <-limit.C:
			return
		}
	}
	t.stats.running.Store(0)
}

// hear takes what the follower says into the schedule. Nothing runs before all records
// were told once: a later record may have cancelled an earlier one.
func (t *timers) hear(n news) {
	switch {
	case n.reset:
		t.schedule.Begin()
		t.dead.forget()
		t.caught = false
		return
	case n.caught:
		t.schedule.End()
		t.caught = true
		return
	case n.rec.Gone:
		t.dead.note(n.rec.Subject, false)
		return // done or cancelled before
	}
	rec, err := readTimer(n.rec)
	t.dead.note(n.rec.Subject, err == nil && rec.State == Dead)
	switch {
	case err != nil:
		t.stats.garbage.Add(1)
		t.log.Warn("a call for later cannot be read and does not run", "subject", n.rec.Subject, "sequence", n.rec.Seq)
	case rec.State != Pending:
		t.schedule.Remove(rec.ID, n.rec.Seq)
	default:
		now := clock()
		t.schedule.Put(now, rec.entry(n.rec, now, t.caught))
	}
}

// fire starts what is due and says how long nothing more is.
func (t *timers) fire() time.Duration {
	for t.caught && t.schedule.Running() < maxRunning && !t.finished() {
		now := clock()
		if wait, ok := t.schedule.Wait(now); !ok || wait > 0 {
			break
		}
		if !t.owner.Held() {
			return unsure
		}
		e, ok := t.schedule.Due(now)
		if !ok {
			break
		}
		t.start(e, now)
	}
	t.stats.waiting.Store(int64(t.schedule.Len() - t.schedule.Running()))
	t.stats.running.Store(int64(t.schedule.Running()))
	wait, ok := t.schedule.Wait(clock())
	if !ok || !t.caught || t.schedule.Running() >= maxRunning {
		return time.Hour
	}
	return wait
}

// start runs an entry; its end is written down on a goroutine of its own, because the
// store may take its time. An entry stays running until then.
func (t *timers) start(e schedule.Entry, now schedule.Clock) {
	rec, err := readTimer(records.Record{Subject: timerSubjectOf(e, t.group), Body: e.Body})
	if err != nil { // it was read before
		t.ended <- e.ID
		return
	}
	finish := func(err error) {
		// goroutine: owner: Server; ends when the store has answered, or with the Server
		t.work.Go(func() {
			t.settle(e, rec, err)
			t.ended <- e.ID // it has room for all that run
		})
	}
	late := max(now.Wall.Sub(rec.Slot), 0)
	if rec.Misfire == Skip && late > misfireAfter {
		finish(errSkipped)
		return
	}
	t.host.run(rec.Function, rec.Codec, rec.Arg, Run{
		trace: rec.Trace,
		Owner: t.name, Group: t.group, ID: runID(rec), Token: t.owner.Token(), Due: rec.Slot, Late: late, Attempt: rec.Attempts + 1,
	}, finish)
}

func timerSubjectOf(e schedule.Entry, group string) string { return timerSubject(group, e.ID) }

// runID is the id of a run: of a recurring call each time has one of its own.
func runID(rec record) string {
	if rec.Rule == "" {
		return rec.ID
	}
	return rec.ID + "@" + rec.Slot.UTC().Format(time.RFC3339Nano)
}

// misfireAfter is how late a time of a recurring call may be with Skip.
const misfireAfter = time.Minute

var errSkipped = errors.New("too late")

// What follows a run, by its end:
//
//	nil, once              done, for an hour
//	nil, recurring         pending, with the next time of the rule
//	error, attempts left   pending, later by the pause; it stays the same time
//	error, none left       dead; a recurring call goes on with its next time
//	cancelled by the end   the record stays as it is, for the next owner
//	of the ownership

// settle writes down how a run ended. Not before: whoever dies in between leaves the
// record as it was, and the next owner runs it again. A conflict means that it was
// cancelled or changed meanwhile, which stays so.
func (t *timers) settle(e schedule.Entry, rec record, err error) {
	switch {
	case errors.Is(err, errNotRun):
		return
	case errors.Is(err, errSkipped):
	case err != nil:
		t.stats.failed.Add(1)
		t.log.Warn("a call for later failed", "id", rec.ID, "function", rec.Function, "attempt", rec.Attempts+1, "error", err)
	default:
		t.stats.ran.Add(1)
	}
	next, ttl := rec.after(err, time.Now())
	givenUp := next.givenUp(rec, err)
	if next.State == Dead {
		t.stats.dead.Add(1)
	}
	ctx := context.WithoutCancel(t.ctx)
	if next.Error != "" && t.store.Tight(ctx) {
		next.Error = "(the store was full)" // so that the record does not grow
	}
	body := next.encode()
	for unsure := false; ; unsure = true {
		_, failed := t.store.Put(ctx, timerSubject(t.group, rec.ID), body, e.Seq, ttl)
		if failed == nil || errors.Is(failed, records.ErrConflict) {
			if givenUp && (failed == nil || unsure) { // else somebody has changed it meanwhile
				t.tell(rec, next)
			}
			return
		}
		if t.owner.Err() != nil || t.ctx.Err() != nil || !errors.Is(failed, cluster.ErrNoQuorum) && !errors.Is(failed, ErrFull) {
			t.log.Error("the end of a call for later could not be written down; it will run again", "id", rec.ID, "error", failed)
			return
		}
		t.log.Error("the end of a call for later cannot be written down; it is tried again", "id", rec.ID, "error", failed)
		t.rest(again)
	}
}

// rest waits, or until the server is stopped.
func (s *Server) rest(d time.Duration) {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-s.ctx.Done():
	}
}

// after is the record that follows a run which ended in err.
func (r record) after(err error, now time.Time) (next record, ttl time.Duration) {
	next = r
	skipped := errors.Is(err, errSkipped)
	failed := err != nil && !skipped
	if failed {
		next.Attempts++
		next.Error = err.Error()
		if next.Attempts < r.Most {
			next.Delay = min(time.Second<<min(r.Attempts, 10), time.Minute)
			next.Due = now.Add(next.Delay).UTC()
			return next, 0
		}
	}
	if r.Rule != "" {
		next.Attempts = 0
		if !failed {
			next.Error = ""
		}
		if bad := next.advance(now); bad == nil {
			return next, 0
		} else if !failed {
			next.Error = bad.Error()
		}
		next.State = Dead
		return next, 0
	}
	if failed {
		next.State = Dead
		return next, 0
	}
	next.State, next.Error = Done, ""
	return next, keepEnded
}

// lastYear is the last one that a record can be written with.
const lastYear = 9999

// advance sets a recurring record to its next time, or leaves it as it is. Why min: after a step of the wall
// clock back, the next time of @every would lie that much further ahead.
func (r *record) advance(now time.Time) error {
	rule, err := schedule.ParseRule(r.Rule, r.Zone)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadRule, err)
	}
	if rule.Every > 0 {
		slot := r.Slot.Add(rule.Every)
		if behind := now.Sub(slot); behind >= 0 && r.Misfire != RunAll {
			slot = now.Add(rule.Every - behind%rule.Every) // not slot.Add: no Duration is as long as centuries
		}
		if slot.UTC().Year() > lastYear {
			return fmt.Errorf("%w: %q has no next time after %v", ErrBadRule, r.Rule, r.Slot)
		}
		r.Delay = min(max(slot.Sub(now), 1), rule.Every)
		r.Slot, r.Due = slot.UTC(), now.Add(r.Delay).UTC()
		return nil
	}
	from := r.Slot
	if r.Misfire != RunAll && now.After(from) {
		from = now
	}
	next, err := rule.Next(from)
	if err == nil && next.UTC().Year() > lastYear {
		err = fmt.Errorf("%w: %q has no next time after %v", ErrBadRule, r.Rule, from)
	}
	if err != nil {
		return err
	}
	r.Slot, r.Due, r.Delay = next.UTC(), next.UTC(), 0
	return nil
}

// follower hands what it hears to the goroutine of run.
type follower struct {
	ctx context.Context
	to  chan<- news
}

func (f follower) tell(n news) {
	select {
	case f.to <- n:
	case <-f.ctx.Done():
	}
}

func (f follower) Reset()                  { f.tell(news{reset: true}) }
func (f follower) Record(r records.Record) { f.tell(news{rec: r}) }
func (f follower) Caught()                 { f.tell(news{caught: true}) }
