package conformance

import (
	"context"
	"net"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

func TestGoldenTCP(t *testing.T) {
	t.Run("both ways, closed by the client, closed at once, refused", func(t *testing.T) {
		golden(t, "g18_tcp", func(t *testing.T, say func(...any)) {
			sideParts(t, say, tcpEcho, tcpClosedAtOnce, tcpFlush)
		})
	})
	t.Run("one end ends its output and reads on", func(t *testing.T) {
		golden(t, "g19_half_close", func(t *testing.T, say func(...any)) {
			sideParts(t, say, halfKept, halfNotKept, halfBoth, halfQueued)
		})
	})
	t.Run("aborts with a queue, and a reset", func(t *testing.T) {
		golden(t, "g20_abort", func(t *testing.T, say func(...any)) {
			sideParts(t, say, abortQueue, abortClosing, resetByPeer)
		})
	})
}

func tcpEcho(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.read = upper
	s, address, err := listen(ctx, there)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := dial(ctx, here, address); err != nil {
		return err
	}
	here.say("connected")
	if err := there.until(ctx, "connection_made"); err != nil {
		return err
	}
	here.say("peer:", pythonBool(shown(here.t, "peername") == shown(there.t, "sockname")))
	there.say("peer:", pythonBool(shown(there.t, "peername") == shown(here.t, "sockname")))
	here.say("can end its output:", pythonBool(here.t.CanWriteEOF()), "reads:", pythonBool(here.t.IsReading()))
	if err := here.t.Write([]byte("hello ")); err != nil {
		return err
	}
	if err := here.t.Writelines([][]byte{[]byte("wor"), []byte("ld")}); err != nil {
		return err
	}
	if err := here.until(ctx, "data HELLO WORLD"); err != nil {
		return err
	}
	here.t.Close()
	here.say("closing:", pythonBool(here.t.IsClosing()), "reads:", pythonBool(here.t.IsReading()))
	err = untilLost(ctx, here.party, there.party)
	there.say("closing:", pythonBool(there.t.IsClosing()))
	tell(say, "the client closes", there.party, here.party)
	return err
}

func tcpClosedAtOnce(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.made = func(s *side) { s.t.Close() }
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	err := untilLost(ctx, here.party, there.party)
	tell(say, "the server closes at once", there.party, here.party)
	return err
}

func tcpFlush(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.read = func(s *side, _ []byte) {
		_ = s.t.Write(make([]byte, 500000))
		s.t.Close()
		s.say("closing:", pythonBool(s.t.IsClosing()))
	}
	s, address, err := listen(ctx, there)
	if err != nil {
		return err
	}
	if err := dial(ctx, here, address); err != nil {
		return err
	}
	if err := here.t.Write([]byte("get")); err != nil {
		return err
	}
	err = untilLost(ctx, here.party, there.party)
	there.without("pause_writing", "resume_writing")
	s.Close()
	tell(say, "what is queued leaves before the end", there.party, here.party)

	nobody := &side{party: &party{name: "client"}}
	nobody.say(why(dial(ctx, nobody, address)))
	tell(say, "nobody listens", nobody.party)
	return err
}

func halfKept(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.keep = true
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	if err := here.t.Write([]byte("question")); err != nil {
		return err
	}
	for range 2 {
		if err := here.t.WriteEOF(); err != nil {
			return err
		}
	}
	refused(here.party, here.t.Write([]byte("more")), transportactors.ErrWriteEOF, "a write behind the end is refused")
	here.say("closing:", pythonBool(here.t.IsClosing()), "reads:", pythonBool(here.t.IsReading()))
	if err := there.until(ctx, "eof_received"); err != nil {
		return err
	}
	there.say("closing:", pythonBool(there.t.IsClosing()))
	for _, piece := range []string{"the answer ", "comes behind the end"} {
		if err := there.t.Write([]byte(piece)); err != nil {
			return err
		}
	}
	if err := here.until(ctx, "data the answer comes behind the end"); err != nil {
		return err
	}
	there.t.Close()
	err := untilLost(ctx, here.party, there.party)
	tell(say, "the server keeps its half", there.party, here.party)
	return err
}

func halfNotKept(ctx context.Context, say func(...any)) error {
	there, here := ends()
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	if err := here.t.Write([]byte("question")); err != nil {
		return err
	}
	if err := here.t.WriteEOF(); err != nil {
		return err
	}
	err := untilLost(ctx, here.party, there.party)
	tell(say, "the server does not keep it", there.party, here.party)
	return err
}

func halfBoth(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.keep, here.keep = true, true
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	if err := here.t.WriteEOF(); err != nil {
		return err
	}
	if err := there.until(ctx, "eof_received"); err != nil {
		return err
	}
	if err := there.t.WriteEOF(); err != nil {
		return err
	}
	if err := here.until(ctx, "eof_received"); err != nil {
		return err
	}
	here.say("closing:", pythonBool(here.t.IsClosing()))
	here.t.Close()
	there.t.Close()
	err := untilLost(ctx, here.party, there.party)
	tell(say, "both keep it", there.party, here.party)
	return err
}

func halfQueued(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.keep = true
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	if err := there.t.PauseReading(); err != nil {
		return err
	}
	if err := here.t.Write(make([]byte, 8_000_000)); err != nil {
		return err
	}
	here.say("waits:", pythonBool(here.t.WriteBufferSize() > 0))
	if err := here.t.WriteEOF(); err != nil {
		return err
	}
	here.say("still waits:", pythonBool(here.t.WriteBufferSize() > 0))
	if err := there.t.ResumeReading(); err != nil {
		return err
	}
	if err := there.until(ctx, "eof_received"); err != nil {
		return err
	}
	there.t.Close()
	err := untilLost(ctx, here.party, there.party)
	tell(say, "the end comes behind what is queued", there.party, here.party)
	return err
}

// full is a pair of which the server does not read and the client has a queue.
func full(ctx context.Context) (there, here *side, err error) {
	there, here = ends()
	if err := pair(ctx, there, here); err != nil {
		return nil, nil, err
	}
	if err := there.t.PauseReading(); err != nil {
		return nil, nil, err
	}
	return there, here, here.t.Write(make([]byte, 16_000_000))
}

func abortQueue(ctx context.Context, say func(...any)) error {
	there, here, err := full(ctx)
	if err != nil {
		return err
	}
	here.say("waits:", pythonBool(here.t.WriteBufferSize() > 0))
	here.t.Abort()
	here.say("aborted, waits:", here.t.WriteBufferSize(), "closing:", pythonBool(here.t.IsClosing()))
	if err := untilLost(ctx, here.party); err != nil {
		return err
	}
	here.t.Abort()
	here.t.Close()
	if err := turns(ctx, 3); err != nil {
		return err
	}
	if err := there.t.ResumeReading(); err != nil {
		return err
	}
	err = untilLost(ctx, there.party)
	there.bare()
	tell(say, "abort", there.party, here.party)
	return err
}

func abortClosing(ctx context.Context, say func(...any)) error {
	there, here, err := full(ctx)
	if err != nil {
		return err
	}
	here.t.Close()
	here.say("closing, waits:", pythonBool(here.t.WriteBufferSize() > 0))
	if err := turns(ctx, 3); err != nil {
		return err
	}
	here.say("and now abort")
	here.t.Abort()
	if err := untilLost(ctx, here.party); err != nil {
		return err
	}
	there.t.Abort()
	err = untilLost(ctx, there.party)
	tell(say, "a close that waits is aborted", there.party, here.party)
	return err
}

func resetByPeer(ctx context.Context, say func(...any)) error {
	there, _ := ends()
	s, address, err := listen(ctx, there)
	if err != nil {
		return err
	}
	defer s.Close()
	peer, err := loopnode.ToThread(ctx, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	})
	if err != nil {
		return err
	}
	defer peer.Close()
	if err := there.until(ctx, "connection_made"); err != nil {
		return err
	}
	if _, err := peer.Write([]byte("last words")); err != nil {
		return err
	}
	if err := there.until(ctx, "data last words"); err != nil {
		return err
	}
	if err := peer.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	if err := peer.Close(); err != nil {
		return err
	}
	err = there.until(ctx, "connection_lost ECONNRESET")
	tell(say, "the peer resets", there.party)
	return err
}
