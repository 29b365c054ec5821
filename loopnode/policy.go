package loopnode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/actors"
)

// Failure is what went wrong with a loop or an actor, for a supervisor.
type Failure = actors.Failure

// Directive is a supervisor's answer to a Failure.
type Directive = actors.Directive

// ErrNoCurrentLoop: the policy was asked for a loop and nobody has set one.
// RuntimeError("There is no current event loop").
var ErrNoCurrentLoop = errors.New("there is no current event loop")

// Policy is how a process makes its loops and what it does when one fails.
// Embed a *DefaultPolicy to change one of the four. All methods: any goroutine.
//
// It is a layer over a loop factory and a supervision strategy: code that only
// wants a loop of its own kind needs no policy but NewRunner with
// WithLoopFactory. asyncio: AbstractEventLoopPolicy, which is being removed there
// for the same reason.
type Policy interface {
	// EventLoop is the loop given to SetEventLoop, never a new one.
	// ErrNoCurrentLoop without one. asyncio: get_event_loop.
	EventLoop() (*Loop, error)
	// SetEventLoop makes l current; nil makes none current. The last call wins.
	// asyncio: set_event_loop.
	SetEventLoop(l *Loop)
	// NewLoop makes a loop and nothing current. An empty name is loop-N. Every
	// life of a supervised loop comes from here. asyncio: new_event_loop.
	NewLoop(name string) (*Loop, error)
	// OnFailure answers a failure of a supervised loop (see Supervise); it fits
	// actors.Options.OnFailure too. Undecided leaves it to the supervisor's
	// strategy. It may run on the loop that failed or on a goroutine that its
	// supervisor waits for, and must not wait for either.
	OnFailure(f Failure) Directive
}

// DefaultPolicy makes loops of one Config and gives a loop that fails a new life.
// The zero value works. Any goroutine; set Config before the first use.
// asyncio: DefaultEventLoopPolicy.
type DefaultPolicy struct {
	// Config is what every loop is made with, but for its name.
	Config  Config
	current atomic.Pointer[Loop]
}

// EventLoop is the loop given to SetEventLoop.
func (p *DefaultPolicy) EventLoop() (*Loop, error) {
	if l := p.current.Load(); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("%w: set one with SetEventLoop, or use Run", ErrNoCurrentLoop)
}

// SetEventLoop makes l current; nil makes none current.
func (p *DefaultPolicy) SetEventLoop(l *Loop) { p.current.Store(l) }

// NewLoop is New with the policy's Config and this name.
func (p *DefaultPolicy) NewLoop(name string) (*Loop, error) {
	cfg := p.Config
	if name != "" {
		cfg.Name = name
	}
	return New(cfg)
}

// OnFailure restarts a loop that failed, lets one that is stuck go on, and leaves
// actors to their strategy.
func (p *DefaultPolicy) OnFailure(f Failure) Directive {
	switch {
	case !f.Who.IsZero():
		return actors.Undecided
	}
	// Not errors.Is: a Setup may fail with the StuckError of another loop.
	if _, stuck := f.Reason.(*StuckError); stuck {
		return actors.Resume
	}
	return actors.Restart
}

// policies is the policy of the process. Why global: asyncio's is, and a
// library that is given no loop has nothing else to ask.
var policies struct {
	sync.Mutex
	now Policy
}

// EventLoopPolicy is the policy of the process: the one set last, or a
// *DefaultPolicy made at the first use. Any goroutine.
// asyncio: get_event_loop_policy.
func EventLoopPolicy() Policy {
	policies.Lock()
	defer policies.Unlock()
	if policies.now == nil {
		policies.now = &DefaultPolicy{}
	}
	return policies.now
}

// SetEventLoopPolicy replaces the policy of the process; nil restores the
// default one, with no current loop. Any goroutine.
// asyncio: set_event_loop_policy.
func SetEventLoopPolicy(p Policy) {
	policies.Lock()
	defer policies.Unlock()
	policies.now = p
}

// EventLoop is the loop that ctx belongs to while that runs, without asking
// anybody; otherwise the policy's current loop. It never makes one. Any
// goroutine. asyncio: get_event_loop.
func EventLoop(ctx context.Context) (*Loop, error) {
	if l, err := Running(ctx); err == nil {
		return l, nil
	}
	return EventLoopPolicy().EventLoop()
}

// SetEventLoop makes l the policy's current loop; nil makes none current. Any
// goroutine. asyncio: set_event_loop.
func SetEventLoop(l *Loop) { EventLoopPolicy().SetEventLoop(l) }

// NewEventLoop makes a loop the way the policy does. Any goroutine.
// asyncio: new_event_loop.
func NewEventLoop() (*Loop, error) { return EventLoopPolicy().NewLoop("") }
