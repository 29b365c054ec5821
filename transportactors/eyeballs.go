package transportactors

import (
	"context"
	"net"
	"time"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// attempt is one way to get a connected descriptor. It ends when its ctx does.
type attempt func(ctx context.Context) (int, error)

// inTurn makes the attempts one after the other; its results are race's.
func inTurn(ctx context.Context, _ time.Duration, tries []attempt, _ func(int)) (fd int, failed []error, err error) {
	for _, try := range tries {
		fd, err := try(ctx)
		switch {
		case err == nil:
			return fd, nil, nil
		case endsCaller(err):
			return -1, nil, err
		}
		failed = append(failed, err)
	}
	return -1, failed, nil
}

// race starts the attempts one by one, the next when the one before has failed
// or has taken as long as delay. The first descriptor wins; the
// attempts that still run are cancelled, have ended when race returns, and what
// they got anyway goes to lose. Without a winner fd is -1 and failed tells why,
// in the order of the attempts. err: the caller was cancelled, or an attempt
// failed for a reason that is not the address's.
func race(ctx context.Context, delay time.Duration, tries []attempt, lose func(fd int)) (fd int, failed []error, err error) {
	r := &running{fd: -1, errs: make([]error, len(tries)), lose: lose}
	defer r.end(ctx)
	for i, try := range tries {
		r.start(ctx, i, try)
		if i+1 == len(tries) {
			delay = loopnode.Forever
		}
		if err = r.wait(ctx, delay); err != nil || r.fd >= 0 {
			break
		}
	}
	if err != nil {
		return -1, nil, err
	}
	fd, r.fd = r.fd, -1
	r.over = true
	for _, e := range r.errs {
		if e != nil {
			failed = append(failed, e)
		}
	}
	return fd, failed, nil
}

// running is a race. Owned by the loop goroutine.
type running struct {
	tasks []*loopnode.Task[int]
	errs  []error // by attempt
	fatal error   // not about an address: it ends the race
	fd    int     // the winner, -1 while there is none
	over  bool    // a descriptor that comes now is closed
	lose  func(int)
}

// start begins attempt i. Its outcome is noted inside its task, so
// that no descriptor can be lost, whatever happens to the race.
func (r *running) start(ctx context.Context, i int, try attempt) {
	t := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) {
		fd, err := try(ctx)
		r.note(i, fd, err)
		return fd, nil
	})
	r.tasks = append(r.tasks, t)
}

func (r *running) note(i, fd int, err error) {
	switch {
	case err != nil && endsCaller(err):
		if !r.over {
			r.fatal = err
		}
	case err != nil:
		r.errs[i] = err
	case r.over, r.fd >= 0:
		r.lose(fd)
	default:
		r.fd = fd
	}
}

// decided reports whether nothing more has to be waited for.
func (r *running) decided() bool { return r.fd >= 0 || r.fatal != nil }

// wait waits until the last attempt that was started has failed, the delay is
// over, or all is decided; with no limit, until every attempt has failed.
func (r *running) wait(ctx context.Context, delay time.Duration) error {
	last := r.tasks[len(r.tasks)-1]
	until := last.Loop().Time().Add(delay)
	for !r.decided() && len(r.alive()) > 0 {
		left := delay
		if delay != loopnode.Forever {
			left = until.Sub(last.Loop().Time())
			if left <= 0 || last.Done() {
				return nil
			}
		}
		if err := r.next(ctx, left); err != nil {
			return err
		}
	}
	return r.fatal
}

// next waits until another attempt has ended, at most limit.
func (r *running) next(ctx context.Context, limit time.Duration) error {
	_, _, err := loopnode.Wait(ctx, r.alive(), loopnode.WaitUntil(loopnode.FirstCompleted), loopnode.WaitAtMost(limit))
	return err
}

func (r *running) alive() (out []loopnode.Waiter) {
	for _, t := range r.tasks {
		if !t.Done() {
			out = append(out, t)
		}
	}
	return out
}

// end cancels what runs and waits for it, also when the caller's ctx has ended.
func (r *running) end(ctx context.Context) {
	r.over = true
	if r.fd >= 0 {
		r.lose(r.fd)
		r.fd = -1
	}
	alive := r.alive()
	for _, w := range alive {
		w.Cancel()
	}
	if len(alive) > 0 {
		_, _, _ = loopnode.Wait(context.WithoutCancel(ctx), alive) // what ends this wait early leaves them to note
	}
}

// interleave mixes the families: the first family leads by the number asked
// for, then each has its turn.
func interleave(all []net.Addr, o options) []net.Addr {
	lead := o.interleave
	if lead < 0 && o.delay > 0 {
		lead = 1
	}
	if lead <= 0 || len(all) == 0 {
		return all
	}
	var order []sock.Family
	of := map[sock.Family][]net.Addr{}
	for _, a := range all {
		f := sock.FamilyOf(a)
		if of[f] == nil {
			order = append(order, f)
		}
		of[f] = append(of[f], a)
	}
	first := of[order[0]]
	n := min(lead-1, len(first))
	out := append([]net.Addr{}, first[:n]...)
	of[order[0]] = first[n:]
	for len(out) < len(all) {
		for _, f := range order {
			if len(of[f]) > 0 {
				out = append(out, of[f][0])
				of[f] = of[f][1:]
			}
		}
	}
	return out
}
