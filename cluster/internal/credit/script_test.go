package credit

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the answers in testdata anew")

// stage is a sender, a receiver and the network between them, for scripts.
type stage struct {
	s       Sender
	r       Receiver
	network []message // on the way, in order
	held    []uint64  // costs of what the receiver holds
	grants  []Grant   // on the way back
}

type message struct {
	stamp, sync, cost uint64
	bytes             uint64
}

// do runs one command and says what happened. Commands:
//
//	window M B     the receiver grants M messages and B bytes; first line only
//	send N C       send N messages that cost C
//	arrive N       N messages of the network arrive
//	lose N         N messages of the network are lost
//	repeat         the next message arrives and stays on the network
//	take N         the target takes N messages
//	refuse N       N messages that are held do not run
//	sync           the sender asks; it arrives behind what is on the network
//	grant          the receiver tells, and the sender hears
//	grants-late    the receiver tells; "old" delivers it later
//	old            the sender hears the oldest grant that is on the way
func (g *stage) do(line string) string {
	var word string
	var n, c uint64
	_, _ = fmt.Sscan(line, &word, &n, &c)
	switch word {
	case "window":
		g.s, g.r = NewSender(), NewReceiver(Amount{n, c})
	case "send":
		for i := range n {
			stamp, ok := g.s.Take(c)
			if !ok {
				return fmt.Sprintf("no credit after %d; %s", i, g.state())
			}
			g.network = append(g.network, message{stamp.Messages, 0, c, stamp.Bytes})
		}
	case "arrive", "repeat":
		out := ""
		for range max(n, 1) {
			if len(g.network) == 0 {
				return "the network is empty"
			}
			m := g.network[0]
			if word == "arrive" {
				g.network = g.network[1:]
			}
			out += g.arrive(m)
		}
		return strings.TrimSpace(out + " " + g.state())
	case "lose":
		g.network = g.network[n:]
	case "take", "refuse":
		for range n {
			if word == "take" {
				g.r.Took(Amount{1, g.held[0]})
			} else {
				g.r.Refuse(g.held[0])
			}
			g.held = g.held[1:]
		}
	case "sync":
		g.network = append(g.network, message{sync: 1, stamp: g.s.Sent().Messages, bytes: g.s.Sent().Bytes})
	case "grant":
		return g.hear(g.r.Grant())
	case "grants-late":
		g.grants = append(g.grants, g.r.Grant())
	case "old":
		old := g.grants[0]
		g.grants = g.grants[1:]
		return g.hear(old)
	default:
		return "unknown command"
	}
	return g.state()
}

func (g *stage) arrive(m message) string {
	at := Amount{m.stamp, m.bytes}
	if m.sync != 0 {
		return fmt.Sprintf("sync: %d missing;", g.r.Sync(at))
	}
	v, missing := g.r.Arrive(at, m.cost)
	if v == Accept {
		g.held = append(g.held, m.cost)
	}
	if v == Accept && missing == 0 {
		return ""
	}
	return fmt.Sprintf("%s, %d missing; ", [...]string{"accept", "repeat", "overrun"}[v], missing)
}

func (g *stage) hear(grant Grant) string {
	news, ok := g.s.Apply(grant)
	if !ok {
		return "not believed"
	}
	return fmt.Sprintf("lost %d, refused %d; %s", news.Lost, news.Refused, g.state())
}

func (g *stage) state() string {
	return fmt.Sprintf("under way %v held %v due %v untold %v", g.s.UnderWay(), g.r.Held(), g.r.Due(), g.r.Untold())
}

// TestScripts runs testdata/*.txt: a line with a command, the answer behind it.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts: ", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(string(text))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(text) {
				t.Errorf("got\n%s\nwant\n%s", got, text)
			}
		})
	}
}

func play(text string) string {
	var out strings.Builder
	g := &stage{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "\t"): // an answer of last time
			continue
		case line == "" || line[0] == '#':
			fmt.Fprintln(&out, line)
			continue
		}
		fmt.Fprintf(&out, "%s\n\t%s\n", line, g.do(line))
	}
	return out.String()
}
