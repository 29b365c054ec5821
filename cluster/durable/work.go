package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/admit"
	"github.com/loopmesh/loopmesh/cluster/internal/lanes"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Work lets a node run the commands of a queue on a loop of its own, whenever it owns
// the queue: one of all nodes that work on it does, the others stand by. To use several
// nodes at once, use several queues. It does not wait. At most 64 commands run at a
// time. Errors: ErrBadID, ErrConfig for a loop that is not of this process.
func Work(n *cluster.Node, queue string, loop loopnode.Ref) (*Server, error) {
	if err := checkName("queue", queue); err != nil {
		return nil, err
	}
	return serve(n, "queue/"+queue, loop, func(s *Server, o *names.Ownership, local *loopnode.Loop) {
		s.workOn(queue, o, local)
	})
}

const (
	maxCommands = 64               // that run
	maxTaken    = 512              // that are held here and not acknowledged
	ackWait     = 30 * time.Second // without a sign from the owner the server delivers again
	signs       = ackWait / 4
	pullBeat    = time.Second
	pullExpiry  = 10 * time.Second
)

// How a queue is worked on. The owner pulls commands from a consumer of JetStream, at
// most maxTaken that are not acknowledged, and tells the server four times in ackWait
// that it still has them. It holds them in lanes, one for each key, and runs the heads.
// A command ends in two steps: its end is written against nothing, so that of two owners
// one writes it; then the message is acknowledged, which removes it from the queue. Who
// dies between the two leaves a command whose end is known: the next owner looks for it
// before it runs a command that an owner before may have run.
//
// What becomes of a command, and who writes what:
//
//	Send          the command, refused while another of its id waits          (WORK, cmd)
//	take          nothing: it is in a lane, and its message is not acknowledged
//	start         nothing; of one that was held before, which life begins it  (LOOPS, queue)
//	the function  what it likes; a Sink or a State with the id of the run     (LOOPS, effect)
//	settle        an error with attempts left: nothing, it waits in its lane
//	close         how it ended, against nothing                               (WORK, end)
//	ack           the message is removed, and the next one of its key begins
//
// The owner can die, or lose the queue, between any two of these lines. Before "close" the
// command runs again. After it the next owner finds the ending and only acknowledges. A
// function whose effect must be had once writes it with the id of the run, so the second run
// finds that it has been.
//
// An owner that loses the queue does not die: its lease ended, or others took its node for
// dead. What it began goes on until it is cancelled, while the next owner begins the same. That
// is why effects carry a token and why attempts are counted by lives, see attempts.go.
//
// Why one owner for each queue, and not many consumers as JetStream allows: the order of
// a key would hold only as long as nothing fails. A message that is delivered again comes
// behind later ones of its key, to another consumer.

// worker runs the commands of one queue during one ownership. Its run goroutine owns the
// lanes and the map; what happens elsewhere comes through channels.
type worker struct {
	*Server
	queue string
	owner *names.Ownership
	host  *host
	store *records.Records
	past  held
	first bool // of this ownership

	lanes *lanes.Lanes
	taken map[uint64]*taken
	ends  chan end
}

// taken is a command that was delivered and is not acknowledged.
type taken struct {
	command
	seq      uint64
	message  atomic.Pointer[jetstream.Msg] // the latest delivery: it is acknowledged
	attempts int                           // that failed
	died     int                           // lives that began it and are over
	noted    bool                          // that this life begins it is written down
	note     uint64                        // the sequence of that record
	again    bool                          // it may have run before: look whether it has ended
	failed   error                         // why it is dead, while there is no room for its letter
}

// end is how a run ended; settled: it is written down, and is not to run again.
type end struct {
	seq     uint64
	settled bool
	retry   time.Duration
}

// held is what one owner of a queue leaves to the next: up to where any before it had been
// given commands. One that is still there may have been begun.
type held struct {
	Version int    `json:"v"`
	Queue   string `json:"queue"`
	Mark    uint64 `json:"mark,omitempty"`
	Nonce   string `json:"nonce"`
}

const heldPrefix = "queue."

// workOn works until the ownership or the server ends. When the way to the server
// breaks, it begins anew: what it held is delivered again, in order.
func (s *Server) workOn(queue string, o *names.Ownership, local *loopnode.Loop) {
	for first := true; s.ctx.Err() == nil && !isOver(o); first = false {
		w := &worker{
			Server: s, first: first, queue: queue, owner: o, store: records.WorkOf(partsOf(s.node)), lanes: lanes.New(), taken: map[uint64]*taken{},
			ends: make(chan end, maxTaken), host: &host{node: s.node, loop: local, tasks: map[*loopnode.Task[struct{}]]struct{}{}},
		}
		err := w.run()
		if s.finished() || isOver(o) {
			return
		}
		s.log.Warn("working on a queue begins anew", "why", err)
		pause := time.NewTimer(again)
		select {
		case <-pause.C:
		case <-s.ctx.Done():
		case <-o.Done():
		}
		pause.Stop()
	}
}

// errFinished is why a worker ends whose node drains.
var errFinished = errors.New("nothing more is begun here")

func isOver(o *names.Ownership) bool { return o.Err() != nil }

// open takes the queue over: it notes what the consumer of the owner before had been
// given and not acknowledged, removes that consumer, and makes one that begins with the
// first command that is there. Why a new one: the old one would deliver what its owner
// held only after ackWait, behind later commands of the same key.
func (w *worker) open(ctx context.Context) (jetstream.MessagesContext, error) {
	js, stream, err := w.store.Stream(ctx)
	if err != nil {
		return nil, err
	}
	name := "q-" + records.Token(w.queue)
	old, err := js.Consumer(ctx, stream, name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		err = w.readHeld(ctx, 0, 0)
	case err == nil:
		var info *jetstream.ConsumerInfo
		if info, err = old.Info(ctx); err == nil {
			mark := uint64(0)
			if info.NumAckPending > 0 && w.first {
				mark = info.Delivered.Stream
			}
			if err = w.readHeld(ctx, mark, info.AckFloor.Stream); err == nil {
				err = js.DeleteConsumer(ctx, stream, name)
			}
		}
	}
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, err
	}
	consumer, err := js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: maxTaken, MaxDeliver: -1,
		FilterSubject: w.store.Subject(commandPrefix + records.Token(w.queue) + ".*"),
	})
	if err != nil {
		return nil, err
	}
	return consumer.Messages(jetstream.PullMaxMessages(maxTaken/2), jetstream.PullHeartbeat(pullBeat), jetstream.PullExpiry(pullExpiry))
}

// readHeld reads the mark and moves it up. mark 0: the owner before left nothing. A mark is
// forgotten when everything before it is acknowledged.
func (w *worker) readHeld(ctx context.Context, mark, floor uint64) error {
	subject := heldPrefix + records.Token(w.queue)
	for {
		rec, err := w.Server.store.Get(ctx, subject)
		if err != nil && !errors.Is(err, records.ErrAbsent) {
			return err
		}
		w.past = held{}
		if err == nil && (json.Unmarshal(rec.Body, &w.past) != nil || w.past.Version != version || w.past.Queue != w.queue) {
			w.past = held{} // garbage: as if nobody had held anything
		}
		if w.past.Mark <= floor {
			w.past.Mark = 0
		}
		if mark <= w.past.Mark {
			return nil
		}
		w.past = held{Version: version, Queue: w.queue, Mark: mark, Nonce: records.Nonce()}
		body, _ := json.Marshal(w.past)
		if _, err := w.Server.store.Put(ctx, subject, body, rec.Seq, 0); !errors.Is(err, records.ErrConflict) {
			return err
		}
	}
}

// run takes commands and runs them until something fails or the ownership ends.
func (w *worker) run() error {
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	opening, done := context.WithTimeout(ctx, again*5)
	messages, err := w.open(opening)
	done()
	if err != nil {
		return err
	}
	arrived := make(chan jetstream.Msg)
	var pulling sync.WaitGroup
	// goroutine: owner: run; ends when run cancels ctx, or the server is silent
	pulling.Go(func() {
		for {
			m, err := messages.Next(jetstream.NextContext(ctx))
			if err != nil {
				cancel(err)
				return
			}
			select {
			case arrived <- m:
			case <-ctx.Done():
				return
			}
		}
	})
	timer, sign, finishing := time.NewTimer(0), time.NewTicker(signs), w.finishing
	defer timer.Stop()
	defer sign.Stop()
	for ctx.Err() == nil {
		select {
		case m := <-arrived:
			w.take(m)
		case e := <-w.ends:
			w.ended(e)
		case <-finishing:
			finishing = nil
		case <-sign.C:
			for _, t := range w.taken {
				_ = (*t.message.Load()).InProgress() // the next one repeats it
			}
		case <-timer.C:
		case <-w.owner.Done():
			cancel(w.owner.Err())
		case <-ctx.Done():
		}
		timer.Reset(w.begin())
		if w.finished() && w.lanes.Running() == 0 {
			cancel(errFinished)
		}
	}
	messages.Stop()
	pulling.Wait()
	w.finish()
	return context.Cause(ctx)
}

// An owner that leaves in order removes its consumer. Then the next one finds nothing that
// was delivered and not acknowledged, and counts no attempt.

// finish cancels what runs, waits for it, and gives the rest back: the next owner begins
// with it, and does not count it as an attempt.
func (w *worker) finish() {
	w.host.cancel("this node does not own the queue any more")
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for w.lanes.Running() > 0 {
		select {
		case e := <-w.ends:
			w.ended(e)
		case <-limit.C:
			return
		}
	}
	w.stats.running.Store(0)
	ctx, cancel := context.WithTimeout(context.Background(), again)
	defer cancel()
	if js, stream, err := w.store.Stream(ctx); err == nil && w.owner.Held() {
		_ = js.DeleteConsumer(ctx, stream, "q-"+records.Token(w.queue)) // else it counts as a death
	}
}

// take holds a message. One that is delivered again, because its sign of life was late,
// is held already.
func (w *worker) take(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return
	}
	seq := meta.Sequence.Stream
	if have := w.taken[seq]; have != nil {
		have.message.Store(&m)
		return
	}
	c, err := readCommand(records.Record{Subject: w.store.Text(m.Subject()), Body: m.Data()})
	if err != nil {
		w.stats.garbage.Add(1)
		w.log.Error("a command cannot be read; it is removed", "subject", m.Subject(), "sequence", seq)
		_ = m.TermWithReason("it cannot be read") // else it comes again
		return
	}
	t := &taken{command: c, seq: seq, again: seq <= w.past.Mark || meta.NumDelivered > 1 || c.Requeued > 0 || !w.first}
	t.message.Store(&m)
	w.taken[seq] = t
	lane := "k" + c.Key
	if c.Key == "" {
		lane = fmt.Sprint("#", seq)
	}
	w.lanes.Add(seq, lane)
}

// ended is what the lanes learn of a run.
func (w *worker) ended(e end) {
	if e.settled {
		w.lanes.End(e.seq)
		delete(w.taken, e.seq)
		return
	}
	w.lanes.Retry(e.seq, clock().Mono+e.retry)
}

// begin starts what may run and says when to look again.
func (w *worker) begin() time.Duration {
	for w.lanes.Running() < maxCommands && !w.finished() {
		now := clock().Mono
		if wait, ok := w.lanes.Wait(now); !ok || wait > 0 {
			break
		}
		if !w.owner.Held() {
			return unsure
		}
		seq, ok := w.lanes.Next(now)
		if !ok {
			break
		}
		w.start(w.taken[seq])
	}
	w.stats.waiting.Store(int64(w.lanes.Len() - w.lanes.Running()))
	w.stats.running.Store(int64(w.lanes.Running()))
	wait, ok := w.lanes.Wait(clock().Mono)
	if !ok || w.lanes.Running() >= maxCommands {
		return time.Hour
	}
	return wait
}

// start runs a command, unless it has ended before or has no attempt left.
func (w *worker) start(t *taken) {
	// goroutine: owner: Server; ends when the store has answered, or the command was begun
	w.work.Go(func() {
		if t.again && w.hasEnded(t) {
			w.ack(t)
			return
		}
		if t.failed != nil {
			w.close(t, t.failed)
			return
		}
		if err := w.noteAttempt(t); err != nil {
			w.log.Warn("a command waits until it can be written down that it is begun once more", "queue", w.queue, "id", t.ID, "error", err)
			w.ends <- end{seq: t.seq, retry: again}
			return
		}
		if t.died > 0 && t.died+t.attempts >= t.Most {
			w.close(t, fmt.Errorf("the process that ran it died %d times", t.died))
			return
		}
		w.host.run(t.Function, t.Codec, t.Arg, Run{
			trace: t.Trace,
			Owner: w.name, Group: w.queue, ID: t.ID, Token: w.owner.Token(), Due: t.Sent, Late: max(time.Since(t.Sent), 0), Attempt: t.died + t.attempts + 1,
		}, func(err error) {
			// goroutine: owner: Server; ends when the store has answered, or with the Server
			w.work.Go(func() { w.settle(t, err) })
		})
	})
}

// hasEnded reports whether the end of the command was written down by an owner that could
// not acknowledge it any more. The letter that a requeued command comes from goes.
func (w *worker) hasEnded(t *taken) bool {
	rec, err := w.store.Get(context.WithoutCancel(w.ctx), endSubject(w.queue, t.ID))
	if err != nil || rec.Gone {
		return false // it runs once more, which is allowed
	}
	if rec.Seq == t.Requeued {
		_ = w.store.Delete(context.WithoutCancel(w.ctx), rec.Seq)
		return false
	}
	return true
}

// settle writes down how a run ended, then acknowledges. Who dies between the two
// leaves a command that the next owner finds ended.
func (w *worker) settle(t *taken, err error) {
	switch {
	case errors.Is(err, errNotRun):
		w.ends <- end{seq: t.seq, retry: time.Hour} // it is given back
		return
	case err == nil:
		w.stats.ran.Add(1)
	default:
		w.stats.failed.Add(1)
		t.attempts++
		w.log.Warn("a command failed", "queue", w.queue, "id", t.ID, "attempt", t.died+t.attempts, "of", t.Most, "error", err)
	}
	if err != nil && t.died+t.attempts < t.Most {
		w.ends <- end{seq: t.seq, retry: min(time.Second<<min(t.attempts-1, 10), time.Minute)}
		return
	}
	w.close(t, err)
}

// A queue has to become empty at a full store, too. An ending takes about as much as the
// command that goes, so there is room for it as long as the reserve of the store is not
// used up (package records). When the store is tight, the mark of a command that is done
// stays a minute instead of an hour; when it cannot be written at all, the command goes
// first, and is perhaps run again. A dead letter may be larger than its command, so it asks
// for room; while there is none the command waits, as it was.

// close writes the ending of a command that does not run any more.
func (w *worker) close(t *taken, err error) {
	ctx := context.WithoutCancel(w.ctx)
	body, ttl := t.ending(err)
	for unsure := false; ; {
		var failed error
		switch {
		case err != nil:
			_, failed = w.store.Add(ctx, admit.New, endSubject(w.queue, t.ID), body, 0)
		case w.store.Tight(ctx):
			_, failed = w.store.Put(ctx, endSubject(w.queue, t.ID), body, 0, keepTight)
		default:
			_, failed = w.store.Put(ctx, endSubject(w.queue, t.ID), body, 0, ttl)
		}
		switch {
		case failed == nil, errors.Is(failed, records.ErrConflict), err == nil && errors.Is(failed, ErrFull):
			if err != nil {
				w.stats.dead.Add(1)
				if failed == nil || unsure { // else it was another owner, which has told
					w.tell(t, err)
				}
			}
			w.ack(t)
			return
		case errors.Is(failed, ErrFull):
			w.log.Error("there is no room for a dead letter; the command waits in its queue", "id", t.ID, "error", failed)
			t.failed = err
			w.ends <- end{seq: t.seq, retry: forRoom}
			return
		}
		w.log.Error("the end of a command could not be written down; it will run again", "id", t.ID, "error", failed)
		unsure = true
		if isOver(w.owner) || w.ctx.Err() != nil || !errors.Is(failed, cluster.ErrNoQuorum) {
			w.ends <- end{seq: t.seq, retry: again}
			return
		}
	}
}

// tell lets those hear of a dead letter who follow this node.
func (w *worker) tell(t *taken, err error) {
	w.log.Error("a command is a dead letter", "queue", w.queue, "id", t.ID, "key", t.Key, "attempts", t.attempts, "error", err)
	partsOf(w.node).DeadLetter(events.Letter{Queue: w.queue, ID: t.ID, Key: t.Key, Attempts: t.attempts, Reason: short(err.Error())})
}

const (
	keepTight = time.Minute      // a mark that a command is done, at a full store
	forRoom   = 10 * time.Second // between two attempts to write a dead letter
)

// ending is what the store keeps of a command: dead for err, or done.
func (t *taken) ending(err error) (body []byte, ttl time.Duration) {
	e := ending{Version: version, State: Done, Digest: t.digest(), Command: &t.command, At: time.Now().UTC(), Nonce: records.Nonce()}
	ttl = keepEnded
	if err != nil {
		e.State, e.Error, e.Attempts, ttl = Dead, short(err.Error()), t.died+t.attempts, 0
	} else {
		small := t.command
		small.Arg, small.Trace, small.Nonce = nil, "", ""
		e.Command = &small
	}
	body, _ = json.Marshal(e) // the type can always be written
	return body, ttl
}

// ack removes the command from its queue. One whose acknowledgement is lost comes again
// and is found ended.
func (w *worker) ack(t *taken) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), again)
	defer cancel()
	err := (*t.message.Load()).DoubleAck(ctx)
	if err != nil {
		w.log.Debug("an acknowledgement was lost", "id", t.ID, "error", err)
	}
	w.ends <- end{seq: t.seq, settled: true}
	if err == nil {
		w.forgetAttempts(t)
	}
}
