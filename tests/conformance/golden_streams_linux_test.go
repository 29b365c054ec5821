package conformance

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

func TestGoldenStreams(t *testing.T) {
	t.Run("CON-02 made comes before the creator wakes, and data behind both", func(t *testing.T) {
		golden(t, "g06_early_data", earlyData)
	})
	t.Run("TRN-01 closing with nothing to send is told in the next turn", func(t *testing.T) {
		golden(t, "g07_close", closing)
	})
	t.Run("RDT-05 bytes and the end of the stream behind them take two turns", func(t *testing.T) {
		golden(t, "g08_data_and_eof", dataAndEOF)
	})
}

// teller is a protocol that tells; what it has no word for it keeps to itself.
type teller struct {
	made func()
	data func(text string)
	eof  func()
	lost func(reason error)
}

func (p *teller) ConnectionMade(transportactors.Transport) {
	if p.made != nil {
		p.made()
	}
}

func (p *teller) DataReceived(b []byte) {
	if p.data != nil {
		p.data(string(b))
	}
}

func (p *teller) EOFReceived() bool {
	if p.eof != nil {
		p.eof()
	}
	return false
}

func (p *teller) ConnectionLost(reason error) {
	if p.lost != nil {
		p.lost(reason)
	}
}

// connector makes our end of the pair a transport with this protocol.
type connector func(*teller) (transportactors.Transport, error)

// onPair runs steps with a pair of sockets: one for connect, the other is theirs.
func onPair(t *testing.T, steps func(ctx context.Context, count *counter, theirs int, connect connector) error) {
	inTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		count := countTurns(l)
		defer count.end()
		ours, theirs := socketPair(t)
		defer closeAll(t, theirs)
		return steps(ctx, count, theirs, func(p *teller) (transportactors.Transport, error) {
			tr, _, err := transportactors.CreateConnection(ctx, func() *teller { return p }, "", "", transportactors.WithSocket(ours))
			return tr, err
		})
	})
}

// none prints a reason as Python does.
func none(reason error) any {
	if reason == nil {
		return "None"
	}
	return reason
}

func earlyData(t *testing.T, say func(...any)) {
	onPair(t, func(ctx context.Context, count *counter, theirs int, connect connector) error {
		if _, err := unix.Write(theirs, []byte("early")); err != nil {
			return err
		}
		if err := turns(ctx, 1); err != nil {
			return err
		}
		zero := count.now
		tr, err := connect(&teller{
			made: func() { say("connection_made", count.now-zero) },
			data: func(text string) { say("data_received", text, count.now-zero) },
		})
		if err != nil {
			return err
		}
		say("returned", count.now-zero)
		if err := turns(ctx, 3); err != nil {
			return err
		}
		tr.Abort()
		return turns(ctx, 2)
	})
}

func closing(t *testing.T, say func(...any)) {
	onPair(t, func(ctx context.Context, count *counter, theirs int, connect connector) error {
		zero := 0
		tr, err := connect(&teller{lost: func(reason error) { say("connection_lost", none(reason), count.now-zero) }})
		if err != nil {
			return err
		}
		if err := turns(ctx, 2); err != nil {
			return err
		}
		zero = count.now
		tr.Close()
		say("close returned", count.now-zero)
		say("closing:", pythonBool(tr.IsClosing()))
		if err := turns(ctx, 3); err != nil {
			return err
		}
		tr.Close()
		return turns(ctx, 2)
	})
}

func dataAndEOF(t *testing.T, say func(...any)) {
	onPair(t, func(ctx context.Context, count *counter, theirs int, connect connector) error {
		zero := 0
		tr, err := connect(&teller{
			data: func(text string) { zero = count.now; say("data_received", text, 0) },
			eof:  func() { say("eof_received", count.now-zero) },
			lost: func(reason error) { say("connection_lost", none(reason), count.now-zero) },
		})
		if err != nil {
			return err
		}
		if err := tr.PauseReading(); err != nil {
			return err
		}
		if err := turns(ctx, 2); err != nil {
			return err
		}
		if _, err := unix.Write(theirs, []byte("last")); err != nil {
			return err
		}
		if err := unix.Shutdown(theirs, unix.SHUT_WR); err != nil {
			return err
		}
		if err := tr.ResumeReading(); err != nil {
			return err
		}
		return turns(ctx, 6)
	})
}
