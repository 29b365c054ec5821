package loopnode

import (
	"context"
	"testing"
	"time"
)

// armed reports whether the loop has a timer that will fire.
func armed(l *Loop) bool {
	_, live := l.core.Timers.Next()
	return live
}

func TestSleep(t *testing.T) {
	t.Run("AWT-20 cancelling a sleep takes its timer back, no time or less is one turn", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			k := asleep(ctx)
			pass(t, ctx, 1)
			before := armed(l)
			k.Cancel()
			_, err := k.Await(ctx)
			isErr(t, err, ErrCancelled)
			if !before || armed(l) {
				t.Errorf("a timer before: %v, after: %v", before, armed(l))
			}
			for _, d := range []time.Duration{0, -time.Second} {
				turns := 0
				l.CallSoon(func() { turns++; l.CallSoon(func() { turns++ }) })
				must(t, Sleep(ctx, d))
				if turns != 1 || armed(l) {
					t.Errorf("sleeping %v took %d turns, made a timer: %v", d, turns, armed(l))
				}
			}
			start := l.Time()
			must(t, Sleep(ctx, 2*time.Millisecond))
			if took := l.Time().Sub(start); took < 2*time.Millisecond-time.Microsecond {
				t.Errorf("slept %v", took)
			}
			return nil
		})
	})
}
