package membership

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

var update = flag.Bool("update", false, "write what the scripts print into testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// TestScripts runs testdata/*.txt. A script is blocks of commands, each followed by
// a line of four dashes and what the block prints. Heartbeats are 1 s, DeadAfter is
// 3 s. Time is virtual; every command may begin with the time at which it happens,
// and ticks come every 250 ms up to that time, except after "sleep".
//
//	new NAME@INC [set FIELD VALUE …]   a machine
//	up | down | isolated BOOL          the connection
//	nobody                             nobody listens as this node's name
//	announce | leave
//	echo [N]                           the oldest N own heartbeats come back; all without N
//	auto echo BOOL                     own heartbeats come back at once
//	KIND FROM [SEQ] [other INC] [held] [quiet]   a message; quiet: the sender is not announced
//	answers FROM [outdated]            FROM answers the last question it was asked
//	absent ID                          nobody listens for that incarnation
//	notice ID closed|cut               the server says that its connection has ended
//	ended ID                           a voter says that its process is gone
//	inquire NAME
//	run UNTIL                          ticks until that time
//	sleep UNTIL                        this process stands still until that time
//	members                            prints the members, and until when the node may serve
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runScript(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Fatalf("the script printed something else (-update accepts it)\n%s", firstDifference(string(text), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < min(len(w), len(g)); i++ {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("want %d lines, got %d", len(w), len(g))
}

// runScript runs every block and returns the script with what it printed.
func runScript(text string) (string, error) {
	var out strings.Builder
	s := &script{echo: true, asked: map[string]uint64{}}
	for n, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		commands, _, ok := strings.Cut(block, "\n----")
		if !ok && !strings.HasPrefix(block, "#") {
			return "", fmt.Errorf("block %d has no line of dashes", n+1)
		}
		s.out.Reset()
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			if err := s.do(strings.Fields(line)); err != nil {
				return "", fmt.Errorf("%q: %w", line, err)
			}
		}
		if n > 0 {
			out.WriteString("\n\n")
		}
		out.WriteString(commands)
		if ok {
			out.WriteString("\n----" + strings.TrimRight("\n"+s.out.String(), "\n"))
		}
	}
	return out.String() + "\n", nil
}

// script drives one machine in virtual time.
type script struct {
	m     *Machine
	now   time.Duration
	wake  time.Duration
	echo  bool
	sent  []uint64 // own heartbeats that have not come back
	asked map[string]uint64
	beats int // heartbeats not printed one by one
	out   strings.Builder
}

const scriptTick = 250 * time.Millisecond

func (s *script) printf(format string, args ...any) {
	fmt.Fprintf(&s.out, "%v ", s.now)
	fmt.Fprintf(&s.out, format+"\n", args...)
}

// drain prints what the machine wants, and lets its heartbeats come back.
func (s *script) drain() {
	for {
		out := s.m.Take()
		s.wake = out.Wake
		if len(out.Messages)+len(out.Events) == 0 {
			return
		}
		for _, e := range out.Events {
			s.printf("%s", strings.TrimSuffix(fmt.Sprintf("%v %v: %s", e.Kind, e.ID, e.Why), ": "))
		}
		for _, msg := range out.Messages {
			s.message(msg)
		}
		for s.echo && len(s.sent) > 0 {
			s.back()
		}
	}
}

func (s *script) message(msg Message) {
	switch msg.Kind {
	case Beat:
		s.sent = append(s.sent, msg.Seq)
		if s.echo { // they come back, and are not of interest one by one
			s.beats++
			return
		}
	case Ask:
		s.asked[msg.To.String()] = msg.Seq
	}
	text := "  -> " + msg.Kind.String()
	if msg.To != (ID{}) {
		text += " " + msg.To.String()
	}
	if msg.Other != 0 {
		text += fmt.Sprintf(" other %d", msg.Other)
	}
	if msg.Held {
		text += " held"
	}
	if msg.Outdated {
		text += " outdated"
	}
	s.printf("%s", text)
}

func (s *script) back() {
	seq := s.sent[0]
	s.sent = s.sent[1:]
	s.m.Step(s.now, Message{Kind: Beat, From: s.m.self, Seq: seq, Announced: true})
}

// run ticks until that time.
func (s *script) run(until time.Duration) {
	for {
		next := (s.now/scriptTick + 1) * scriptTick
		if s.wake > s.now && s.wake < next {
			next = s.wake
		}
		if next > until {
			break
		}
		s.now = next
		s.m.Tick(s.now)
		s.drain()
	}
	s.now = until
}

func (s *script) do(word []string) error {
	if at, err := time.ParseDuration(word[0]); err == nil {
		if s.m != nil {
			s.run(at)
		}
		s.now = at
		word = word[1:]
	}
	if word[0] == "new" {
		return s.create(word[1:])
	}
	if word[0] == "auto" {
		s.echo = word[2] == "true"
		return nil
	}
	if err := s.input(word); err != nil {
		return err
	}
	s.drain()
	return nil
}

func (s *script) create(word []string) error {
	cfg := Defaults(time.Second, 3*time.Second)
	for i := 1; i+2 < len(word); i += 3 {
		n, err := strconv.Atoi(word[i+2])
		if err != nil {
			return err
		}
		switch word[i+1] {
		case "members":
			cfg.MaxMembers = n
		case "candidates":
			cfg.MaxCandidates = n
		case "formers":
			cfg.MaxFormers = n
		default:
			return fmt.Errorf("no field %s", word[i+1])
		}
	}
	id, err := parseID(word[0])
	s.m = New(cfg, id)
	s.sent = nil
	return err
}

func parseID(text string) (ID, error) {
	name, number, ok := strings.Cut(text, "@")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return ID{}, fmt.Errorf("%q is no NAME@INC", text)
	}
	return ID{name, n}, nil
}

func (s *script) input(word []string) error {
	switch word[0] {
	case "up":
		s.m.Connected(s.now)
	case "down":
		s.m.Disconnected(s.now)
		s.sent = nil
	case "isolated":
		s.m.Isolated(s.now, word[1] == "true")
	case "nobody":
		s.m.NobodyHolds(s.now)
	case "announce":
		s.m.Announce(s.now)
	case "leave":
		s.m.Leave(s.now)
	case "echo":
		n := len(s.sent)
		if len(word) > 1 {
			n, _ = strconv.Atoi(word[1])
		}
		for range n {
			s.back()
		}
	case "inquire":
		s.m.Inquire(s.now, word[1])
	case "run", "sleep":
		at, err := time.ParseDuration(word[1])
		if err != nil {
			return err
		}
		if word[0] == "run" {
			s.run(at)
		}
		s.now = at
	case "members":
		for _, have := range s.m.Members() {
			s.printf("%v suspect=%v heard=%v", have.ID, have.Suspect, have.Heard)
		}
		s.printf("serve until %v", s.m.ServeUntil())
	default:
		return s.about(word)
	}
	return nil
}

// about are the inputs about another node.
func (s *script) about(word []string) error {
	id, err := parseID(word[1])
	if err != nil {
		return err
	}
	switch word[0] {
	case "absent":
		s.m.Absent(s.now, id)
		return nil
	case "notice":
		s.m.Notice(s.now, id, word[2] == "closed")
		return nil
	case "ended":
		s.m.Ended(s.now, id)
		return nil
	case "answers":
		s.m.Step(s.now, Message{Kind: Answer, From: id, To: s.m.self, Seq: s.asked[word[1]], Announced: true, Outdated: len(word) > 2})
		return nil
	}
	msg := Message{From: id, To: s.m.self, Announced: true}
	for k, name := range kindNames {
		if name == word[0] {
			msg.Kind = Kind(k)
		}
	}
	if msg.Kind == 0 {
		return fmt.Errorf("no command")
	}
	for i := 2; i < len(word); i++ {
		switch word[i] {
		case "held":
			msg.Held = true
		case "quiet":
			msg.Announced = false
		case "other":
			i++
			if msg.Other, err = strconv.ParseUint(word[i], 10, 64); err != nil {
				return err
			}
		default:
			if msg.Seq, err = strconv.ParseUint(word[i], 10, 64); err != nil {
				return err
			}
		}
	}
	s.m.Step(s.now, msg)
	return nil
}
