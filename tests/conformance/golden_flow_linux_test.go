package conformance

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

func TestGoldenFlow(t *testing.T) {
	t.Run("the water marks of the queue", func(t *testing.T) {
		golden(t, "g21_water", func(t *testing.T, say func(...any)) { sideParts(t, say, water, marksOf) })
	})
	t.Run("a server closes with a client, and one starts late", func(t *testing.T) {
		golden(t, "g22_server", func(t *testing.T, say func(...any)) { sideParts(t, say, serverCloses, serverLate) })
	})
	t.Run("reading pauses in the middle", func(t *testing.T) {
		golden(t, "g23_reading", func(t *testing.T, say func(...any)) {
			sideParts(t, say, readingPaused, closedPaused, otherProtocol)
		})
	})
}

// fill writes until the client is told to pause, and one piece more.
func fill(here *side) (sent int) {
	piece := make([]byte, 65536)
	for before := here.count("pause_writing"); here.count("pause_writing") == before; sent += len(piece) {
		_ = here.t.Write(piece)
	}
	high, _ := here.t.WriteBufferLimits()
	here.say("the write returns, above the mark:", pythonBool(here.t.WriteBufferSize() > high))
	_ = here.t.Write(piece)
	return sent + len(piece)
}

func water(ctx context.Context, say func(...any)) error {
	there, here := ends()
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	high, low := here.t.WriteBufferLimits()
	here.say("marks:", low, high)
	err := there.t.PauseReading()
	sent := fill(here)
	err = errors.Join(err, there.t.ResumeReading(), here.until(ctx, "resume_writing"))
	here.say("below the mark:", pythonBool(here.t.WriteBufferSize() <= low))
	err = errors.Join(err, there.t.PauseReading())
	sent += fill(here)
	here.t.Close()
	here.say("closing:", pythonBool(here.t.IsClosing()))
	err = errors.Join(err, there.t.ResumeReading(), untilLost(ctx, here.party, there.party))
	there.say("all of it:", pythonBool(there.has(fmt.Sprintf("data of %d bytes", sent))))
	there.bare()
	tell(say, "pause and resume", there.party, here.party)
	return err
}

func marksOf(ctx context.Context, say func(...any)) error {
	there, here := ends()
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	for _, limits := range [][2]int{{1000, -1}, {-1, 1000}, {9, 3}, {0, -1}, {-1, -1}, {10, 20}} {
		word := "marks:"
		if errors.Is(here.t.SetWriteBufferLimits(limits[0], limits[1]), loopnode.ErrInvalidArgument) {
			word = "refused, marks:"
		}
		high, low := here.t.WriteBufferLimits()
		here.say(word, low, high)
	}
	here.t.Close()
	err := untilLost(ctx, here.party, there.party)
	tell(say, "marks", here.party)
	return err
}

func serverCloses(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.read = upper
	s, address, err := listen(ctx, there)
	if err != nil {
		return err
	}
	there.say("serving:", pythonBool(s.IsServing()), "sockets:", len(s.Sockets()))
	if err := errors.Join(dial(ctx, here, address), there.until(ctx, "connection_made")); err != nil {
		return err
	}
	s.Close()
	s.Close()
	there.say("serving:", pythonBool(s.IsServing()), "sockets:", len(s.Sockets()))
	closed := loopnode.CreateTask(ctx, "", noResult(s.WaitClosed))
	here.say("another one:", why(dial(ctx, &side{party: &party{}}, address)))
	err = errors.Join(here.t.Write([]byte("still here")), here.until(ctx, "data STILL HERE"))
	there.say("closed:", pythonBool(closed.Done()))
	here.t.Close()
	err = errors.Join(err, finish(ctx, closed), untilLost(ctx, here.party, there.party))
	tell(say, "closed with a client", there.party, here.party)
	return err
}

func serverLate(ctx context.Context, say func(...any)) error {
	there, here := ends()
	s, address, err := listen(ctx, there, transportactors.WithStartServing(false))
	if err != nil {
		return err
	}
	there.say("serving:", pythonBool(s.IsServing()))
	here.say(why(dial(ctx, here, address)))
	err = errors.Join(s.StartServing(), s.StartServing())
	there.say("serving:", pythonBool(s.IsServing()))
	if err := errors.Join(err, dial(ctx, here, address), there.until(ctx, "connection_made")); err != nil {
		return err
	}
	here.t.Close()
	err = untilLost(ctx, here.party, there.party)
	task := loopnode.CreateTask(ctx, "", noResult(s.ServeForever))
	err = errors.Join(err, turns(ctx, 2))
	refused(there.party, s.ServeForever(ctx), loopnode.ErrBusy, "one at a time")
	task.Cancel()
	_, _, failed := loopnode.Wait(ctx, []loopnode.Waiter{task})
	there.say("cancelled:", pythonBool(task.Cancelled()), "serving:", pythonBool(s.IsServing()))
	refused(there.party, s.StartServing(), transportactors.ErrClosed, "it cannot start again")
	tell(say, "started late", there.party, here.party)
	return errors.Join(err, failed)
}

func readingPaused(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.keep = true
	there.read = func(s *side, b []byte) {
		if string(b) == "one" {
			_ = s.t.PauseReading()
			_ = s.t.PauseReading()
			s.say("reads:", pythonBool(s.t.IsReading()))
		}
	}
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	err := errors.Join(here.t.Write([]byte("one")), there.until(ctx, "reads: False"),
		here.t.Write([]byte("two")), here.t.WriteEOF(), turns(ctx, 20))
	there.say("resumes")
	err = errors.Join(err, there.t.ResumeReading(), there.t.ResumeReading())
	there.say("reads:", pythonBool(there.t.IsReading()))
	err = errors.Join(err, there.until(ctx, "eof_received"))
	there.t.Close()
	err = errors.Join(err, untilLost(ctx, here.party, there.party), there.t.PauseReading(), there.t.ResumeReading())
	there.say("reads:", pythonBool(there.t.IsReading()))
	tell(say, "paused in the middle", there.party, here.party)
	return err
}

func closedPaused(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.made = func(s *side) { _ = s.t.PauseReading() }
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	err := here.t.Write([]byte("never read"))
	here.t.Close()
	err = errors.Join(err, untilLost(ctx, here.party), turns(ctx, 20))
	there.t.Close()
	err = errors.Join(err, untilLost(ctx, there.party))
	tell(say, "closed while it was paused", there.party, here.party)
	return err
}

func otherProtocol(ctx context.Context, say func(...any)) error {
	there, here := ends()
	fresh := &side{party: &party{name: "new"}}
	there.read = func(s *side, _ []byte) {
		s.t.SetProtocol(fresh)
		_ = s.t.Write([]byte("go on"))
	}
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	err := errors.Join(here.t.Write([]byte("one")), here.until(ctx, "data go on"),
		here.t.Write([]byte("two")), fresh.until(ctx, "data two"))
	here.t.Close()
	err = errors.Join(err, untilLost(ctx, here.party, fresh.party))
	tell(say, "another protocol in the middle", there.party, fresh.party, here.party)
	return err
}
