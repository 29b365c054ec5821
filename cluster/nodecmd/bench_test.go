package nodecmd

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// servedBy is how many calls of others a node has run.
func servedBy(t *testing.T, node string) uint64 {
	t.Helper()
	for _, n := range decoded[admin.List[admin.Node]](t, loopmesh("ls", "-o", "json")).Items {
		if n.ID == node {
			return n.Served
		}
	}
	t.Fatalf("%s is not listed", node)
	return 0
}

func TestBenchNATSAndTopics(t *testing.T) {
	village(t)
	t.Run("calls that are counted have run there", func(t *testing.T) {
		before := servedBy(t, "n2")
		b := decoded[admin.Bench](t, loopmesh("bench", "calls", "n2/io-0", "--from", "n1", "--for", "100ms", "--at-once", "4", "-o", "json", "--timeout", "30s"))
		if b.Done == 0 || b.Failed != 0 || b.From != "n1" || b.To != "n2/io-0" || b.AtOnce != 4 || b.Size != 64 || b.Running || b.TookUS < 100_000 {
			t.Errorf("%+v", b)
		}
		if b.P50US <= 0 || b.P50US > b.P99US || b.P99US > b.MaxUS || b.PerSecond <= 0 || b.Bytes != 64*b.Done {
			t.Errorf("%+v", b)
		}
		if after := servedBy(t, "n2"); after-before < b.Done {
			t.Errorf("%d calls are told, the other node has served %d", b.Done, after-before)
		}
	})
	t.Run("casts and streams are counted where they arrive", func(t *testing.T) {
		for _, what := range []string{"casts", "streams"} {
			for _, to := range []string{"n3/io-0", "n1/io-0"} { // another node, and itself
				b := decoded[admin.Bench](t, loopmesh("bench", what, to, "--for", "50ms", "-o", "json", "--timeout", "30s", "--node", "n1"))
				if b.Done == 0 || b.Failed != 0 || b.From != "n1" || b.To != to || b.Bytes != b.Done*uint64(b.Size) {
					t.Errorf("%s to %s: %+v", what, to, b)
				}
			}
		}
	})
	t.Run("it is a table, an event, and quiet off a terminal", func(t *testing.T) {
		s := loopmesh("bench", "calls", "n3/io-0", "--for", "20ms", "--from", "n2", "--timeout", "30s")
		if s.code != exitOK || s.errs != "" || !strings.HasPrefix(s.out, "MEASURED  FROM  TO") || strings.Count(s.out, "\n") != 2 {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("events", "--kind", "LM3191", "-o", "jsonl"); !strings.Contains(s.out, `"subject":"n2"`) {
			t.Errorf("the measurement is in no event: %+v", s)
		}
	})
	t.Run("two at once are refused", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan int, 1)
		var out, errs bytes.Buffer
		go func() {
			ended <- run(ctx, []string{"bench", "calls", "n2/io-0", "--from", "n3", "--for", "1m"}, &out, &errs)
		}()
		client := admin.NewClient(admin.Path("n1"))
		defer client.Close()
		soon(t, "the first one runs", func() bool {
			b, err := client.Benching(context.Background(), "n3")
			return err == nil && b.Running && b.Done > 0
		})
		if s := loopmesh("bench", "calls", "n1/io-0", "--from", "n3", "--for", "20ms"); s.code != exitRefused || !strings.Contains(s.errs, "LM3190") {
			t.Errorf("%+v", s)
		}
		cancel()
		if code := <-ended; code != exitInterrupted {
			t.Errorf("interrupted, it ends with %d: %s", code, errs.String())
		}
		soon(t, "the node has stopped measuring", func() bool {
			b, err := client.Benching(context.Background(), "n3")
			return err == nil && !b.Running
		})
	})
	t.Run("mistakes", func(t *testing.T) {
		for _, c := range []struct {
			args string
			code int
			errs string
		}{
			{"bench", exitUsage, "needs WHAT and LOOP"},
			{"bench pings n2/io-0", exitUsage, `nothing called "pings"`},
			{"bench calls n2", exitUsage, `"n2" is no loop`},
			{"bench calls n2/", exitUsage, `is no loop`},
			{"bench calls n9/io-0 --for 20ms", exitNotFound, "n9"},
			{"bench calls n2/io-9 --for 20ms", exitNotFound, "loops of n2: admin, chat, io-0"},
			{"bench calls n2/io-0 --from n9 --for 20ms", exitNotFound, "nodes: n1, n2, n3"},
			{"bench calls n2/io-0 --for 2m", exitUsage, "--for is 2m0s"},
			{"bench calls n2/io-0 --for 0s", exitUsage, "--for is 0s"},
			{"bench calls n2/io-0 --at-once 257", exitUsage, "257 at once"},
			{"bench streams n2/io-0 --at-once 5", exitUsage, "5 at once"},
			{"bench calls n2/io-0 --size 65537", exitUsage, "65537 bytes"},
			{"bench calls n2/io-0 --size=-1", exitUsage, "positive"},
			{"help topics nonsense", exitUsage, "no help about"},
		} {
			if s := loopmesh(strings.Fields(c.args)...); s.code != c.code || s.out != "" || !strings.Contains(s.errs, c.errs) {
				t.Errorf("%s: %+v", c.args, s)
			}
		}
	})
	t.Run("each node tells how it reaches NATS", func(t *testing.T) {
		list := decoded[admin.List[admin.NATSLink]](t, loopmesh("nats", "status", "-o", "json"))
		links := map[string]bool{}
		for _, l := range list.Items {
			links[l.ID] = l.Connected && l.RTTUS != nil && l.Node+"/"+l.Link == l.ID
		}
		for _, want := range []string{"n1/control", "n1/bulk", "n2/control", "n3/bulk"} {
			if !links[want] {
				t.Errorf("%s is not well: %+v", want, list.Items)
			}
		}
		if s := loopmesh("nats", "status", "--filter", "link=control", "--columns", "LINK,STATE", "--no-headers"); s.out != "n1/control  connected\nn2/control  connected\nn3/control  connected\n" {
			t.Errorf("%+v", s)
		}
	})
	t.Run("topics are found by help", func(t *testing.T) {
		list := loopmesh("help", "topics")
		for _, c := range newTopics(newProgram(demoOptions)).Commands() {
			if !strings.Contains(list.out, c.Name()) {
				t.Errorf("%s is not listed:\n%s", c.Name(), list.out)
			}
			if c.Long == "" {
				t.Errorf("%s is empty", c.Name())
			}
			if s := loopmesh("help", c.Name()); s.code != exitOK || !strings.Contains(s.out, c.Long) || s.errs != "" {
				t.Errorf("help %s: %+v", c.Name(), s)
			}
		}
	})
}
