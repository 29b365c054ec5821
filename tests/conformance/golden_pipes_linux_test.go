package conformance

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/loopmesh/loopmesh/transportactors"
)

func TestGoldenPipes(t *testing.T) {
	t.Run("the end of a pipe, and its reader going away", func(t *testing.T) {
		golden(t, "g27_pipes", func(t *testing.T, say func(...any)) {
			sideParts(t, say, pipeWriterEnds, pipeBoth, pipeReaderCloses, pipeWriteEOF, pipeReaderGoes)
		})
	})
}

func readingPipe(ctx context.Context) (*side, *os.File, error) {
	s := &side{party: &party{name: "reader"}}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	_, _, err = transportactors.ConnectReadPipe(ctx, func() *side { return s }, r)
	return s, w, err
}

func writingPipe(ctx context.Context) (*side, *os.File, error) {
	s := &side{party: &party{name: "writer"}}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	_, _, err = transportactors.ConnectWritePipe(ctx, func() *side { return s }, w)
	return s, r, err
}

func pipeWriterEnds(ctx context.Context, say func(...any)) error {
	s, w, err := readingPipe(ctx)
	if err != nil {
		return err
	}
	_, failed := w.WriteString("bytes")
	err = errors.Join(failed, s.until(ctx, "data bytes"), w.Close(), untilLost(ctx, s.party))
	s.say("closing:", pythonBool(s.t.IsClosing()))
	tell(say, "the writer ends", s.party)
	return err
}

func pipeBoth(ctx context.Context, say func(...any)) error {
	s, w, err := readingPipe(ctx)
	if err != nil {
		return err
	}
	err = s.t.PauseReading()
	_, failed := w.WriteString("bytes")
	err = errors.Join(err, failed, w.Close())
	s.say("resumes")
	err = errors.Join(err, s.t.ResumeReading(), untilLost(ctx, s.party))
	tell(say, "bytes and the end at once", s.party)
	return err
}

func pipeReaderCloses(ctx context.Context, say func(...any)) error {
	s, w, err := readingPipe(ctx)
	if err != nil {
		return err
	}
	s.t.Close()
	err = errors.Join(untilLost(ctx, s.party), w.Close())
	tell(say, "the reader closes", s.party)
	return err
}

func pipeWriteEOF(ctx context.Context, say func(...any)) error {
	s, r, err := writingPipe(ctx)
	if err != nil {
		return err
	}
	s.say("can end its output:", pythonBool(s.t.CanWriteEOF()))
	err = errors.Join(s.t.Write([]byte("bytes")), s.t.WriteEOF())
	s.say("closing:", pythonBool(s.t.IsClosing()))
	err = errors.Join(err, untilLost(ctx, s.party))
	room := make([]byte, 99)
	n, failed := r.Read(room)
	s.say("the pipe has", string(room[:n]))
	tell(say, "the end of the output is the end", s.party)
	return errors.Join(err, failed, r.Close())
}

func pipeReaderGoes(ctx context.Context, say func(...any)) error {
	s, r, err := writingPipe(ctx)
	if err != nil {
		return err
	}
	err = errors.Join(r.Close(), untilLost(ctx, s.party))
	tell(say, "the reader goes while nothing waits", s.party)
	if err != nil {
		return err
	}
	if s, r, err = writingPipe(ctx); err != nil {
		return err
	}
	err = s.t.Write(make([]byte, 1_000_000))
	s.say("waits:", pythonBool(s.t.WriteBufferSize() > 0))
	err = errors.Join(err, r.Close(), s.until(ctx, "connection_lost EPIPE"))
	tell(say, "the reader goes while bytes wait", s.party)
	return err
}
