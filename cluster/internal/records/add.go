package records

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster/internal/admit"
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
)

// A store at its limit refuses every record, whatever it is for. If new work could fill it
// to the limit, the leases of nodes could not be renewed any more, so names would lose
// owners that are well; and what is done could not be written down, so nothing would ever
// leave the store again. So what makes the store grow asks for room first (Add), and is
// refused while there is still some; what renews, ends or removes something does not ask
// (Put). Package admit says how much is kept, and why many nodes at once do not use it up.
//
// Why is this not left to the server? A limit of JetStream is one for all subjects of a
// stream, so leases and endings would need streams of their own. But a command and its end
// are compared in one step, which works in one stream only; a lease in another stream would
// be looked for in vain by nodes of earlier versions, which would take its owner for dead;
// and all streams share the limits of their account and of the servers' disks, which a
// stream of one's own does not keep free.

// gate is the admission to one stream, for this node.
type gate struct {
	sync.Mutex
	*admit.Gate
	begun  uint64 // readings
	ended  uint64 // the last of them that ended, but for the end of its asker's time
	failed error  // of that one
	short  bool   // the last write of more than there was had no room, at once or yet
}

// origin is where this process's monotonic times begin.
var origin = time.Now()

func mono() time.Duration { return time.Since(origin) }

// overhead is what the server keeps beside subject and body: headers, a checksum.
const overhead = 192

// size is what a record takes in the store.
func (r *Records) size(subject string, body []byte) int {
	return len(r.prefix) + len(subject) + len(body) + overhead
}

// Add is Put of a record that makes the store grow: it asks for room first. kind says
// what for. When there is none, it is ErrFull and nothing was written.
func (r *Records) Add(ctx context.Context, kind admit.Kind, subject string, body []byte, expect uint64) (uint64, error) {
	return r.AddBeside(ctx, kind, subject, subject, body, expect)
}

// AddBeside is PutBeside in the same way.
func (r *Records) AddBeside(ctx context.Context, kind admit.Kind, subject, other string, body []byte, expect uint64) (uint64, error) {
	if ctx == nil {
		return 0, r.try(ctx, r.name, nil) // which says so
	}
	// Room and the write together have the time of one operation.
	ctx, cancel := Request(ctx)
	defer cancel()
	end, err := r.admit(ctx, kind, admit.Write{Bytes: r.size(subject, body), Messages: 1})
	if err != nil {
		return 0, err
	}
	defer end()
	return r.put(ctx, subject, other, body, expect, 0)
}

func noAnswer() error { return fmt.Errorf("%w: no answer for %v", engine.ErrNoQuorum, limit) }

// Request gives a request that takes several operations the time of one: looking, writing
// and looking again may each take as long as an operation may, and for ever while a server
// that begins to lead refuses what it does not find. The cause of its end is ErrNoQuorum.
func Request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, noAnswer())
}

// waitRoom is the pause of who waits until other writes of this node have ended.
const waitRoom = 5 * time.Millisecond

// admit waits until a write may begin, at most until ctx ends. end has to be called when the
// write has ended. Why ErrFull when ctx ends while it waits for other writes, and not ctx's
// error: the store has answered, and has no room that is not spoken for.
func (r *Records) admit(ctx context.Context, kind admit.Kind, w admit.Write) (end func(), err error) {
	for looked := false; ; looked = true {
		r.gate.Lock()
		verdict, full := r.gate.Ask(mono(), kind, w, looked)
		if verdict == admit.Go {
			r.gate.Begin(w)
		}
		if kind == admit.More && verdict != admit.Look {
			r.gate.short = verdict != admit.Go
		}
		r.gate.Unlock()
		switch verdict {
		case admit.Go:
			return func() {
				r.gate.Lock()
				defer r.gate.Unlock()
				r.gate.End(w)
			}, nil
		case admit.Full:
			return nil, tooFull(full)
		case admit.Wait:
			r.parts.AskStores()
			pause := time.NewTimer(waitRoom)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
		}
		if ctx.Err() == nil {
			err = r.look(ctx)
		}
		switch why := context.Cause(ctx); {
		case ctx.Err() != nil && verdict == admit.Wait && errors.Is(why, engine.ErrNoQuorum) && r.answers():
			return nil, fmt.Errorf("%w: nothing was written: other writes take all that is left of it for %v: make room, or send less at a time", ErrFull, limit)
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: nothing was written", why)
		}
	}
}

// answers reports whether the store has answered lately: who waits for room asks it again and
// again, and the end of its time most often comes while it asks.
func (r *Records) answers() bool {
	r.gate.Lock()
	defer r.gate.Unlock()
	return !r.gate.Stale(mono())
}

// Short reports whether the last write of this node that makes the store grow had no room, or
// waits for it.
func (r *Records) Short() bool {
	r.gate.Lock()
	defer r.gate.Unlock()
	return r.gate.short
}

// tooFull is the error of a write that was not let in.
func tooFull(l admit.Level) error {
	unit := "bytes"
	if l.Copies == 0 {
		unit = "messages"
	}
	return fmt.Errorf("%w: nothing was written: %s holds %d of %d %s, and the rest is kept for what is under way to end: "+
		"let commands run, cancel what is not needed ('loopmesh timer cancel'), or raise the limit", ErrFull, l.Name, l.Used, l.Limit, unit)
}

// Tight reports whether the store is so full that even what ends something should take as
// little as it can. It asks the store at most once a second. false when nobody answers.
func (r *Records) Tight(ctx context.Context) bool {
	r.gate.Lock()
	stale := r.gate.Stale(mono())
	r.gate.Unlock()
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	if stale && r.look(ctx) != nil {
		return false
	}
	r.gate.Lock()
	defer r.gate.Unlock()
	return r.gate.Tight()
}

// look reads the levels. Of several that look at once one does: a reading that was begun
// after a call serves that call as well, unless it was given up because the time of who began
// it was over.
func (r *Records) look(ctx context.Context) error {
	r.gate.Lock()
	before := r.gate.begun
	r.gate.Unlock()
	select {
	case r.looking <- struct{}{}:
		defer func() { <-r.looking }()
	case <-ctx.Done():
		return fmt.Errorf("%w: nothing was written", context.Cause(ctx))
	}
	r.gate.Lock()
	if r.gate.ended > before {
		defer r.gate.Unlock()
		return r.gate.failed
	}
	r.gate.begun++
	number := r.gate.begun
	r.gate.Reading()
	r.gate.Unlock()
	begun := mono()
	levels, err := r.levels(ctx)
	r.gate.Lock()
	defer r.gate.Unlock()
	if err != nil && ctx.Err() != nil {
		return err
	}
	if r.gate.ended, r.gate.failed = number, err; err != nil {
		return err
	}
	for i := range levels {
		levels[i].Stamp = r.gate.begun
	}
	// Twice the nodes: each has a gate for either stream, and both streams share some levels.
	r.gate.Read(begun, 2*r.parts.Writers(), append(levels, r.parts.Stores()...))
	return nil
}

// levels asks for the limits of the stream and of the account.
func (r *Records) levels(ctx context.Context) (out []admit.Level, err error) {
	err = r.tryTo(ctx, r.name, "nothing was written", func(ctx context.Context, js jetstream.JetStream) error {
		stream, err := js.Stream(ctx, r.name)
		if err != nil {
			return err
		}
		account, err := js.AccountInfo(ctx)
		if err != nil {
			return err
		}
		out = append(streamLevels(stream.CachedInfo()), accountLevel(account, stream.CachedInfo().Config.Replicas)...)
		return nil
	})
	return out, err
}

// streamLevels are the limits of a stream; those below 1 are none.
func streamLevels(info *jetstream.StreamInfo) []admit.Level {
	return []admit.Level{
		{Name: "the stream " + info.Config.Name + " (bytes)", Used: info.State.Bytes, Limit: uint64(max(info.Config.MaxBytes, 0)), Copies: 1},
		{Name: "the stream " + info.Config.Name, Used: info.State.Msgs, Limit: uint64(max(info.Config.MaxMsgs, 0))},
	}
}

// accountLevel is the limit of the account: one for everything, which counts each copy of a
// byte, or one for streams with so many copies.
func accountLevel(info *jetstream.AccountInfo, replicas int) []admit.Level {
	replicas = max(replicas, 1)
	l := admit.Level{Name: "the account", Copies: uint64(replicas)}
	tier, times := info.Tier, int64(1)
	if t, ok := info.Tiers[fmt.Sprintf("R%d", replicas)]; ok {
		tier, times = t, int64(replicas)
	}
	if tier.Limits.MaxStore <= 0 {
		return nil
	}
	l.Used, l.Limit = tier.Store, uint64(tier.Limits.MaxStore*times)
	return []admit.Level{l}
}
