package actors

import (
	"math"
	"time"
)

// Lifetime says which ends of an actor are followed by a new life.
type Lifetime uint8

const (
	// Temporary actors are never restarted.
	Temporary Lifetime = iota
	// Transient actors are restarted after a failure: a panic, or Exit with an error.
	Transient
	// Permanent actors are restarted after Exit without an error too; only a
	// Stop from outside, or of the parent, ends them.
	Permanent
)

// String is the name in small letters.
func (l Lifetime) String() string {
	return [...]string{"temporary", "transient", "permanent"}[min(l, Permanent)]
}

// Scope says which siblings are restarted together with a child that failed.
type Scope uint8

const (
	// OneForOne restarts the child that failed.
	OneForOne Scope = iota
	// OneForAll restarts every child.
	OneForAll
	// RestForOne restarts the child that failed and those spawned after it.
	RestForOne
)

// Directive is a supervisor's answer to a failure.
type Directive uint8

const (
	// Undecided leaves the answer to the strategy's Lifetime.
	Undecided Directive = iota
	// Resume goes on with the next message; the actor keeps its state.
	Resume
	// Restart gives the actor a new life under the same Ref; what waits in its
	// mailbox stays, the message that failed is lost.
	Restart
	// Stop ends the actor; its watchers are told the failure.
	Stop
	// Escalate makes the failure the supervisor's own; at the top it goes to
	// Options.OnFailure.
	Escalate
)

// String is the name in small letters.
func (d Directive) String() string {
	return [...]string{"undecided", "resume", "restart", "stop", "escalate"}[min(d, Escalate)]
}

// Strategy is how a supervisor treats failures. The zero value stops what fails.
type Strategy struct {
	// Restart says which ends are followed by a new life.
	Restart Lifetime
	// Scope says which siblings are restarted together with a child that failed.
	Scope Scope
	// Intensity is how many restarts within Period the supervisor accepts, over
	// all it supervises together (OTP's meaning). Zero is 10, negative no limit.
	Intensity int
	// Period is the window of Intensity. Zero is 10 s. It is also how long a life
	// must last for Backoff to begin anew.
	Period time.Duration
	// Exceeded answers the failure that is one too many. Undecided is Escalate.
	Exceeded Directive
	// Backoff delays restarts. The zero value restarts at once.
	Backoff Backoff
	// Decide answers a failure; nil or Undecided leaves it to Restart. It
	// runs on the loop of the actor that failed.
	Decide func(Failure) Directive
}

// Backoff is an exponential delay: Min, Min×Factor, Min×Factor², … up to Max,
// each shortened by a random part of Jitter.
type Backoff struct {
	// Min is the first delay; zero means no delay at all.
	Min time.Duration
	// Max bounds the delay; zero is one minute.
	Max time.Duration
	// Factor is the growth per restart; below 1 it is 2.
	Factor float64
	// Jitter in [0,1] is the part of the delay that is random: the delay lies between
	// (1-Jitter)×d and d, so that many actors do not restart at the same time.
	Jitter float64
}

// Delay is how long to wait before restart number n, counted from 0, for a
// random number in [0,1).
func (b Backoff) Delay(n int, random float64) time.Duration {
	if b.Min <= 0 {
		return 0
	}
	limit, factor := b.Max, b.Factor
	if limit <= 0 {
		limit = time.Minute
	}
	if factor < 1 {
		factor = 2
	}
	d := math.Min(float64(b.Min)*math.Pow(factor, float64(n)), float64(limit))
	return time.Duration(d * (1 - min(max(b.Jitter, 0), 1)*random))
}

// Limits are Intensity and Period with their defaults.
func (s Strategy) Limits() (intensity int, period time.Duration) {
	intensity, period = s.Intensity, s.Period
	if intensity == 0 {
		intensity = 10
	}
	if period <= 0 {
		period = 10 * time.Second
	}
	return intensity, period
}
