package transporttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

var endChecks = []check{
	{"TRN-01 8 MiB written before Close arrive whole", nil, flushed},
	{"TRN-02 TRN-08 WRT-12 ending twice is ending once, and aborting forgets the queue", nil, endedOnce},
	{"TRN-03 nothing is heard after Close or Abort but the loss", nil, silence},
	{"TRN-04 a paused writer is resumed while closing, and its last bytes leave", hasTheWord, lastWords},
	{"WRT-14 Abort tells in the next turn, never inside", nil, abortTells},
	{"closing inside any call is heeded", nil, closingInside},
}

func flushed(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	if err := here.write(pattern(0, 8<<20)); err != nil {
		return err
	}
	here.close()
	if here.ended || !here.t.IsClosing() {
		return errors.New("lost inside Close, or not closing")
	}
	if err := until(ctx, "both losses", func() bool { return here.ended && there.ended }); err != nil {
		return err
	}
	return errors.Join(there.got(pattern(0, 8<<20)), here.reason, there.reason)
}

func endedOnce(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	if here.t.IsClosing() {
		return errors.New("closing from the start")
	}
	if err := here.write(make([]byte, e.much)); err != nil {
		return err
	}
	here.close()
	here.close()
	here.abort() // the queue is dropped
	if here.t.WriteBufferSize() != 0 || !here.t.IsClosing() {
		return fmt.Errorf("%d bytes wait after Abort", here.t.WriteBufferSize())
	}
	here.abort()
	here.close()
	if err := until(ctx, "both losses", func() bool { return here.ended && there.ended }); err != nil {
		return err
	}
	here.close()
	here.abort()
	if endsOutput(e.kind) {
		here.act(func() { err = here.t.WriteEOF() })
	}
	if err := errors.Join(err, turns(ctx, 5)); err != nil {
		return err
	}
	if !here.t.IsClosing() || here.reason != nil || len(e.told) != 0 {
		return fmt.Errorf("closing %v, reason %v, told %v", here.t.IsClosing(), here.reason, e.told)
	}
	if len(there.data) >= e.much {
		return errors.New("aborting sent the queue")
	}
	return nil
}

func silence(ctx context.Context, e *env) error {
	for _, end := range []func(*probe){(*probe).close, (*probe).abort} {
		here, there, err := e.pair(ctx)
		if err != nil {
			return err
		}
		there.read(false)
		if err := here.write([]byte("they wait already")); err != nil {
			return err
		}
		if err := turns(ctx, 5); err != nil {
			return err
		}
		there.read(true)
		end(there)
		here.close()
		if err := until(ctx, "both losses", func() bool { return here.ended && there.ended }); err != nil {
			return err
		}
		if err := errors.Join(turns(ctx, 3), there.heard("made", "lost"), there.reason); err != nil {
			return err
		}
	}
	return nil
}

func lastWords(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	here.onResume = func() {
		if err := here.t.Write([]byte("last")); err != nil {
			here.blame("writing inside ResumeWriting of a closing transport: %v", err)
		}
	}
	if err := here.write(pattern(0, e.much)); err != nil {
		return err
	}
	here.close()
	if err := until(ctx, "both losses", func() bool { return here.ended && there.ended }); err != nil {
		return err
	}
	return errors.Join(here.heard("made", "pause", "resume", "lost"), there.got(append(pattern(0, e.much), "last"...)))
}

func abortTells(ctx context.Context, e *env) error {
	here, _, err := e.pair(ctx)
	if err != nil {
		return err
	}
	here.abort()
	if here.ended {
		return errors.New("lost inside Abort")
	}
	if err := turns(ctx, 1); err != nil {
		return err
	}
	if !here.ended || here.reason != nil {
		return fmt.Errorf("ended %v after a turn, %v", here.ended, here.reason)
	}
	return nil
}

// closingInside closes in each call in turn: the loss is all that follows.
func closingInside(ctx context.Context, e *env) error {
	for _, call := range []string{"made", "data", "eof", "pause", "resume"} {
		here, there := e.probe("here"), e.probe("there in "+call)
		on := there
		if call == "pause" || call == "resume" {
			on = here
		}
		end := func() { on.close() }
		switch call {
		case "made":
			on.onMade = end
		case "data":
			on.onData = func([]byte) { end() }
		case "eof":
			on.onEOF = func() bool { end(); return true }
		case "pause":
			on.onPause = end
		case "resume":
			on.onResume = end
		}
		if err := e.connect(ctx, here, there); err != nil {
			return err
		}
		if !here.t.IsClosing() {
			_ = here.write(make([]byte, e.much)) // the other end may be gone
			here.close()
		}
		if err := until(ctx, "both losses", func() bool { return here.ended && there.ended }); err != nil {
			return fmt.Errorf("closing in %s: %w", call, err)
		}
		log := on.log
		if e.kind.Goodbye && call != "eof" {
			log = less(log, "eof")
		}
		if at := slices.Index(log, call); at < 0 || call != "pause" && at != len(log)-2 {
			return fmt.Errorf("closed in %s, then %v", call, on.log)
		}
	}
	return nil
}
