package transporttest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
)

var modelChecks = []check{
	{"PRO-01 the contract holds over random schedules", nil, schedules},
}

// schedules plays random games on both ends; the probes watch.
func schedules(ctx context.Context, e *env) error {
	for seed := range uint64(40) {
		g := &game{r: rand.New(rand.NewPCG(seed, 7)), kind: e.kind}
		var err error
		if g.here, g.there, err = e.pair(ctx); err != nil {
			return err
		}
		if err := g.play(ctx); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	return nil
}

// game is one random schedule.
type game struct {
	r           *rand.Rand
	kind        Kind
	here, there *probe
	sent        [2]int // by here, by there
	over        [2]bool
}

func (g *game) play(ctx context.Context) error {
	for _, p := range []*probe{g.here, g.there} {
		p.onEOF = func() bool { return g.kind.HalfClose && !g.kind.OneWay }
	}
	for range 30 + g.r.IntN(60) {
		if err := g.move(ctx); err != nil {
			return err
		}
	}
	if g.r.IntN(2) == 0 {
		return g.abrupt(ctx)
	}
	return g.orderly(ctx)
}

// move does one random thing.
func (g *game) move(ctx context.Context) error {
	side := 0
	if !g.kind.OneWay {
		side = g.r.IntN(2)
	}
	from, to := g.sides(side)
	switch g.r.IntN(6) {
	case 0, 1:
		if g.over[side] {
			return nil
		}
		n := 1 + g.r.IntN(1<<g.r.IntN(19))
		b := pattern(g.sent[side], n)
		g.sent[side] += n
		if g.r.IntN(2) == 0 {
			return from.write(b)
		}
		return from.writelines([][]byte{b[:n/2], nil, b[n/2:]})
	case 2:
		to.read(false)
	case 3:
		to.read(true)
	case 4:
		if g.kind.HalfClose && !g.kind.OneWay && g.r.IntN(8) == 0 {
			g.over[side] = true
			return from.t.WriteEOF()
		}
	}
	return turns(ctx, 1+g.r.IntN(3))
}

func (g *game) sides(side int) (from, to *probe) {
	if side == 0 {
		return g.here, g.there
	}
	return g.there, g.here
}

// abrupt ends in the middle: what came is a beginning of what was sent.
func (g *game) abrupt(ctx context.Context) error {
	if g.r.IntN(2) == 0 {
		g.here.abort()
	} else {
		g.here.close()
	}
	if err := turns(ctx, g.r.IntN(3)); err != nil {
		return err
	}
	g.there.abort()
	return g.compare(ctx, false)
}

// orderly lets everything arrive before the end.
func (g *game) orderly(ctx context.Context) error {
	g.here.read(true)
	g.there.read(true)
	err := until(ctx, "all bytes", func() bool {
		return len(g.there.data) == g.sent[0] && len(g.here.data) == g.sent[1]
	})
	if err != nil {
		return fmt.Errorf("%w: %d of %d and %d of %d came", err, len(g.there.data), g.sent[0], len(g.here.data), g.sent[1])
	}
	g.here.close()
	if err := turns(ctx, g.r.IntN(5)); err != nil {
		return err
	}
	g.there.close()
	return g.compare(ctx, true)
}

func (g *game) compare(ctx context.Context, whole bool) error {
	if err := until(ctx, "both losses", func() bool { return g.here.ended && g.there.ended }); err != nil {
		return err
	}
	for side := range 2 {
		_, to := g.sides(side)
		sent := pattern(0, g.sent[side])
		if !bytes.HasPrefix(sent, to.data) || whole && len(to.data) != len(sent) {
			return fmt.Errorf("%s got %d bytes of %d, or other ones", to.name, len(to.data), len(sent))
		}
	}
	return nil
}
