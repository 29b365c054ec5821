package lookup

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

func TestTimed(t *testing.T) {
	t.Run("DBG-06 looking up a name is timed: info when slow, debug otherwise, nothing without debug mode", func(t *testing.T) {
		for _, c := range []struct {
			debug bool
			slow  time.Duration
			want  string
		}{{true, time.Nanosecond, "[INFO]"}, {true, time.Hour, "[DEBUG]"}, {false, time.Nanosecond, ""}} {
			l, log := testloop.New(t, func(cfg *loopnode.Config) { cfg.Debug, cfg.SlowCallback, cfg.Resolver = c.debug, c.slow, oneAddress{} })
			_, err := loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
				l.SetSlowCallback(c.slow)
				_, err := Getaddrinfo(ctx, "name.example", "80", Hints{})
				return 0, err
			}))
			testloop.Must(t, err)
			lines := strings.Split(log.String(), "\n")
			i := slices.IndexFunc(lines, func(s string) bool { return strings.Contains(s, "Getting address info") })
			if c.want == "" && i >= 0 || c.want != "" && (i < 0 || !strings.Contains(lines[i], c.want)) {
				t.Errorf("%+v: %s", c, log)
			}
		}
	})
}

// oneAddress knows one host.
type oneAddress struct{ loopnode.Resolver }

func (oneAddress) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
}
