package transporttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

var writeChecks = []check{
	{"WRT-04 bytes leave in the order of the calls, whole, also when the kernel takes parts", nil, manyWrites},
	{"WRT-03 what waits is a copy: the caller's bytes are its own again", nil, ownBytes},
	{"WRT-10 WRT-11 pausing comes inside the write above the mark, resuming at the low one, in turn", nil, flowControl},
	{"WRT-09 marks have defaults, derive from one another and are checked", nil, marks},
	{"WRT-13 PRO-04 ending the output waits for the queue; the input goes on", halfCloses, halfClose},
	{"TRN-05 WRT-06 WRT-07 a write after the end is an error of the call, every time", nil, lateWrites},
}

func manyWrites(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	sent := 0
	for round := 0; sent < e.much; round++ {
		n := 1 + r.IntN(1<<(1+r.IntN(20)))
		b := pattern(sent, n)
		if round%2 == 0 {
			err = here.write(b)
		} else {
			err = here.writelines(slices.Collect(slices.Chunk(b, 1+r.IntN(n))))
		}
		if err != nil {
			return err
		}
		sent += n
		if round%8 == 0 {
			there.read(round%16 != 0) // a reader that rests now and then makes the kernel take parts
			if err := turns(ctx, 1); err != nil {
				return err
			}
		}
	}
	there.read(true)
	here.close()
	if err := until(ctx, "the end", func() bool { return there.ended && here.ended }); err != nil {
		return err
	}
	return errors.Join(there.got(pattern(0, sent)), here.reason, there.reason)
}

func ownBytes(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	b := pattern(0, e.much)
	if err := here.write(b); err != nil {
		return err
	}
	clear(b)
	if here.t.WriteBufferSize() == 0 {
		return errors.New("the kernel took everything: nothing is proven")
	}
	pieces := [][]byte{pattern(e.much, 10), pattern(e.much+10, 10)}
	if err := here.writelines(pieces); err != nil {
		return err
	}
	if len(pieces) != 2 || len(pieces[0]) != 10 || len(pieces[1]) != 10 {
		return errors.New("the caller's list was changed")
	}
	clear(pieces[0])
	here.close()
	if err := until(ctx, "the end", func() bool { return there.ended }); err != nil {
		return err
	}
	return there.got(pattern(0, e.much+20))
}

func flowControl(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	high, low := here.t.WriteBufferLimits()
	const step = 16 << 10
	sent, most := 0, 0
	pump := func() {
		for !here.full && sent < e.much {
			if err := here.t.Write(pattern(sent, step)); err != nil {
				here.blame("writing: %v", err)
				return
			}
			sent += step
			size := here.t.WriteBufferSize()
			if most = max(most, size); size > high && !here.full {
				here.blame("%d bytes wait and nobody was told", size)
			}
		}
		if sent == e.much {
			here.t.Close()
		}
	}
	here.onResume = func() {
		if size := here.t.WriteBufferSize(); size > low {
			here.blame("resumed with %d bytes, above %d", size, low)
		}
		pump()
	}
	pump()
	if err := until(ctx, "the end", func() bool { return there.ended }); err != nil {
		return err
	}
	// Why framing: the size counts what the transport makes of a write, and the
	// write before the pause may have begun one byte below the mark.
	const framing = step / 16
	if most > high+step+framing || !here.logged("pause") || !here.logged("resume") {
		return fmt.Errorf("up to %d bytes waited; %v", most, tail(here.log))
	}
	return there.got(pattern(0, e.much))
}

func marks(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	high, low := here.t.WriteBufferLimits()
	if high < 16<<10 || low != high/4 {
		return fmt.Errorf("at first low is %d and high %d", low, high)
	}
	for _, c := range []struct{ high, low, wantLow, wantHigh int }{
		{64 << 10, -1, 16 << 10, 64 << 10}, {400, -1, 100, 400}, {-1, 25, 25, 100}, {0, -1, 0, 0}, {7, 7, 7, 7},
	} {
		if err := here.t.SetWriteBufferLimits(c.high, c.low); err != nil {
			return err
		}
		if high, low := here.t.WriteBufferLimits(); low != c.wantLow || high != c.wantHigh {
			return fmt.Errorf("%v gave low %d and high %d", c, low, high)
		}
	}
	if err := here.t.SetWriteBufferLimits(1, 2); !errors.Is(err, loopnode.ErrInvalidArgument) {
		return fmt.Errorf("high below low gave %v", err)
	}
	if err := here.t.SetWriteBufferLimits(1<<30, 0); err != nil {
		return err
	}
	there.read(false)
	if err := here.write(make([]byte, e.much)); err != nil {
		return err
	}
	if here.logged("pause") {
		return errors.New("paused below the mark")
	}
	here.act(func() { err = here.t.SetWriteBufferLimits(1<<10, 0) })
	if err != nil || !here.logged("pause") {
		return fmt.Errorf("a mark below the size did not pause: %w", err)
	}
	here.act(func() { err = here.t.SetWriteBufferLimits(1<<30, 1<<29) })
	if err != nil || here.logged("resume") {
		return fmt.Errorf("a higher mark resumed at once: %w", err)
	}
	return nil
}

func halfClose(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	there.onEOF = func() bool { return true }
	if err := here.write(pattern(0, e.much)); err != nil {
		return err
	}
	for range 2 { // the second does nothing
		here.act(func() { err = here.t.WriteEOF() })
		if err != nil || !here.t.CanWriteEOF() {
			return fmt.Errorf("WriteEOF: %w", err)
		}
	}
	for _, err := range []error{here.write([]byte("x")), here.write(nil), here.writelines([][]byte{{1}})} {
		if !errors.Is(err, transportactors.ErrWriteEOF) {
			return fmt.Errorf("a write after WriteEOF gave %v", err)
		}
	}
	if err := until(ctx, "the end of the input", func() bool { return there.logged("eof") }); err != nil {
		return err
	}
	if err := there.got(pattern(0, e.much)); err != nil {
		return err
	}
	if there.t.IsReading() || there.t.IsClosing() || here.t.IsClosing() {
		return errors.New("the kept connection reads, or is closing")
	}
	if err := there.write(pattern(7, e.much)); err != nil {
		return err
	}
	there.close()
	if err := until(ctx, "both losses", func() bool { return here.ended && there.ended }); err != nil {
		return err
	}
	if err := here.t.WriteEOF(); err != nil {
		return fmt.Errorf("WriteEOF after the end: %w", err)
	}
	return errors.Join(here.got(pattern(7, e.much)), here.reason, there.reason)
}

func lateWrites(ctx context.Context, e *env) error {
	for _, waiting := range []int{0, e.much} {
		here, _, err := e.pair(ctx)
		if err != nil {
			return err
		}
		if err := here.write(make([]byte, waiting)); err != nil {
			return err
		}
		here.close()
		late := func() error {
			for range 6 {
				one, many := here.write([]byte("x")), here.writelines([][]byte{[]byte("x")})
				if !errors.Is(one, transportactors.ErrClosed) || !errors.Is(many, transportactors.ErrClosed) {
					return fmt.Errorf("with %d bytes waiting: %v, %v", waiting, one, many)
				}
			}
			return nil
		}
		if err := late(); err != nil {
			return err
		}
		if err := until(ctx, "the loss", func() bool { return here.ended }); err != nil {
			return err
		}
		if err := late(); err != nil {
			return err
		}
	}
	return nil
}
