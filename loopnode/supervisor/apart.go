package supervisor

import (
	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

// apart calls a function of the user's on a goroutine of its own, waits for it, and
// returns what it threw.
//
// Why: OnFailure and the like are called on the supervisor's goroutine or the
// watchdog's, for which runtime.Goexit (t.FailNow calls it) would be the end. A
// supervisor that ends in that way leaves its loop open: what lives there is told
// nothing, and nobody can close it.
func apart(fn func()) error {
	thrown := make(chan error, 1)
	// goroutine: owner: apart, which waits for it; ends with fn.
	go func() {
		left := error(actors.ErrGoexit) // unless fn returns or panics
		defer func() { thrown <- left }()
		if p := guard.Call(fn); p != nil {
			left = p
		} else {
			left = nil
		}
	}()
	return <-thrown
}

// asked is what decide answers, called apart; what it throws is thrown again, for
// Failure.Ask.
func asked(decide func(loopnode.Failure) loopnode.Directive) func(loopnode.Failure) loopnode.Directive {
	if decide == nil {
		return nil
	}
	return func(f loopnode.Failure) (d loopnode.Directive) {
		if err := apart(func() { d = decide(f) }); err != nil {
			panic(err)
		}
		return d
	}
}

// tell calls fn apart. What it throws changes nothing.
func tell(fn func(loopnode.Failure), f loopnode.Failure) {
	if fn != nil {
		_ = apart(func() { fn(f) })
	}
}
