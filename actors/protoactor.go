package actors

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	pa "github.com/asynkron/protoactor-go/actor"

	"github.com/loopmesh/loopmesh/internal/logbridge"
)

// This file is all that protoactor-go sees of the package, and most of what the
// package sees of protoactor-go. protoactor keeps the tree of actors and takes
// the life-cycle steps; a cell is its Actor and its Mailbox at once:
//
//	spawn            protoactor calls Start; system messages queue in the mailbox
//	system message   InvokeSystemMessage, in which protoactor changes its state and
//	                 calls Receive with Started, Restarting, Stopping or Stopped;
//	                 Receive only writes the hook down, step runs it afterwards
//	user message     InvokeUserMessage(deliverCurrent), which calls Receive back;
//	                 the message itself is in the cell's Context
//	failure          EscalateFailure with a *report; protoactor asks HandleFailure of
//	                 the parent, which hands it to the supervisor of the child
//
// Its futures, timers, strategies, dead letters and remoting are not used.

// deliverCurrent is what protoactor is told to deliver. Why not the message: no
// type of the user's can then mean something to protoactor, and nothing is boxed
// on the way.
var deliverCurrent any = new(struct{ _ byte })

var (
	paStop    = &pa.Stop{}
	paRestart = &pa.Restart{}
	paResume  = &pa.ResumeMailbox{}
)

// newCore makes protoactor's system. What it logs is logged one level lower. Its dead
// letters are not used, so the goroutine of its log throttle must end soon.
func (s *System) newCore() *pa.ActorSystem {
	logger := slog.New(logbridge.Handler(s.log.Named("protoactor"), logbridge.Options{Quieter: true}))
	core := pa.NewActorSystem(
		pa.WithLoggerFactory(func(*pa.ActorSystem) *slog.Logger { return logger }),
		pa.WithDeadLetterThrottleInterval(time.Microsecond),
		pa.WithDeadLetterRequestLogging(false),
	)
	core.ProcessRegistry.RegisterAddressResolver(s.resolve) // before the first send: the list has no lock
	return core
}

// startCore has protoactor start the actor. The error is the loop's.
func (s *System) startCore(c *cell) (*pa.PID, error) {
	props := pa.PropsFromProducer(func() pa.Actor { return c }, pa.WithMailbox(func() pa.Mailbox { return c }))
	if c.parent != nil {
		return c.parent.pctx.SpawnNamed(props, c.path[len(c.parent.path)+1:])
	}
	props.Configure(pa.WithGuardian(&guardian{}))
	return s.core().Root.SpawnNamed(props, "/"+c.path) // the slash keeps clear of protoactor's own names
}

// Receive is called by protoactor, on the loop: to deliver the current message,
// or to say which life-cycle step it takes.
func (c *cell) Receive(pctx pa.Context) {
	switch pctx.Message().(type) {
	case *pa.Started:
		c.pctx, c.phase = pctx, alive
		c.pending = append(c.pending, hook{hookStarted})
	case *pa.Restarting:
		c.phase, c.suspended = restarting, true // protoactor resumes when the children are gone
		c.pending = append(c.pending, hook{hookRestarting})
	case *pa.Stopping:
		c.phase = stopping
		c.pending = append(c.pending, hook{hookStopping})
	case *pa.Stopped:
		c.phase = stopped
		c.pending = append(c.pending, hook{hookStopped})
	case *pa.Terminated: // a child is gone; its own terminate has told our side
	default:
		c.call()
	}
}

// PostUserMessage is what protoactor itself sends; everything of ours uses deliver.
func (c *cell) PostUserMessage(m interface{}) {
	_, msg, _ := pa.UnwrapEnvelope(m)
	_ = c.deliver(envelope{msg: msg}) // refused messages are in the dead letters
}

// PostSystemMessage takes protoactor's life-cycle messages. Any goroutine.
func (c *cell) PostSystemMessage(m interface{}) { c.postSystem(m) }

// RegisterHandlers ties the mailbox to protoactor's side of the actor.
func (c *cell) RegisterHandlers(invoker pa.MessageInvoker, _ pa.Dispatcher) { c.invoker = invoker }

// UserMessageCount is how many messages wait that came from other goroutines.
func (c *cell) UserMessageCount() int { return c.foreignLen() }

// Start opens the mailbox and schedules what was posted before. The actor can be
// found by name before its first hook runs: answers to what it asks there may
// come by name.
func (c *cell) Start() {
	c.sys.publishName(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed { // loopClosed was faster
		c.startErr = ErrLoopDied
		return
	}
	c.live = true
	if c.startErr = c.host.run.Post(c.stepSystem); c.startErr != nil {
		c.live = false // no step will come: who spawns it terminates it
		return
	}
	for range c.foreign.n {
		if c.host.run.Post(c.stepForeign) != nil {
			return // the loop closes at this moment, and ends its actors
		}
	}
}

// HandleFailure is protoactor's question to a parent about a child.
func (c *cell) HandleFailure(_ *pa.ActorSystem, _ pa.Supervisor, _ *pa.PID, _ *pa.RestartStatistics, reason, _ interface{}) {
	answer(reason)
}

// guardian is protoactor's parent of the actors that have none.
type guardian struct{}

// HandleFailure is protoactor's question about an actor at the top.
func (*guardian) HandleFailure(_ *pa.ActorSystem, _ pa.Supervisor, _ *pa.PID, _ *pa.RestartStatistics, reason, _ interface{}) {
	answer(reason)
}

func answer(reason any) {
	if r, ok := reason.(*report); ok {
		r.child.supervisor().handle(r)
	}
}

// resolve is protoactor's question who takes messages for a PID elsewhere. A PID
// remembers the answer for ever, so it is one stateless process for all.
func (s *System) resolve(*pa.PID) (pa.Process, bool) { return &remoteProcess{s}, true }

// remoteProcess is the process behind every PID of another node.
type remoteProcess struct{ sys *System }

func (p *remoteProcess) post(pid *pa.PID, m any) {
	_, msg, _ := pa.UnwrapEnvelope(m)
	to := pidAddress(pid)
	if err := p.sys.route(to, envelope{msg: msg}); err != nil {
		p.sys.deadLetter(RefOf(to), envelope{msg: msg}, err)
	}
}

func pidAddress(pid *pa.PID) Address {
	node, life, _ := strings.Cut(pid.GetAddress(), "@")
	n, _ := strconv.ParseUint(life, 10, 64) // no incarnation is zero
	return Address{Node: node, Incarnation: n, Path: pid.GetId()}
}

// SendUserMessage carries what protoactor itself sends to a PID elsewhere.
func (p *remoteProcess) SendUserMessage(pid *pa.PID, m interface{}) { p.post(pid, m) }

// SendSystemMessage refuses: protoactor's life cycle does not cross nodes.
func (p *remoteProcess) SendSystemMessage(pid *pa.PID, m interface{}) {
	to := pidAddress(pid)
	p.sys.deadLetter(RefOf(to), envelope{msg: m}, fmt.Errorf("%w: %s: the life cycle of actors does not cross nodes", ErrNoRoute, to))
}

// Stop asks the actor elsewhere to end.
func (p *remoteProcess) Stop(pid *pa.PID) { p.post(pid, StopRequest{}) }
