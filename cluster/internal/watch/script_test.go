package watch

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the scripts print into testdata")

// TestScripts runs testdata/*.txt. A script is blocks of commands, each followed by
// a line of four dashes and what the block prints. What is not answered is repeated
// after 1 s. Every command may begin with the time at which it happens; a tick comes
// before it.
//
//	new [FIELD VALUE …]        both tables, empty; fields are total, pernode, atonce
//	watch ID NODE@INC PATH     this node watches
//	unwatch ID                 this node does not want to know any more
//	watching NODE@INC ID       an answer
//	terminated NODE@INC ID     an answer
//	down NODE@INC              a node is given up, or
//	forget NODE@INC            has left or was replaced
//	again                      this node was cut off
//	asks NODE@INC ID PATH      another node watches
//	takesback NODE@INC ID      another node unwatches
//	ended PATH                 a path of this node ends
//	endall                     this node leaves
//	tick                       time goes by
//	count                      prints sizes
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

// script drives both tables in virtual time.
type script struct {
	out  *Outgoing
	in   *Incoming
	now  time.Duration
	text strings.Builder
}

func runScript(text string) (string, error) {
	var out strings.Builder
	s := &script{}
	for n, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		commands, _, ok := strings.Cut(block, "\n----")
		if !ok && !strings.HasPrefix(block, "#") {
			return "", fmt.Errorf("block %d has no line of dashes", n+1)
		}
		s.text.Reset()
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			if err := s.do(strings.Fields(line)); err != nil {
				return "", fmt.Errorf("%q: %w", line, err)
			}
			s.drain()
		}
		if n > 0 {
			out.WriteString("\n\n")
		}
		out.WriteString(commands)
		if ok {
			out.WriteString("\n----" + strings.TrimRight("\n"+s.text.String(), "\n"))
		}
	}
	return out.String() + "\n", nil
}

func (s *script) printf(format string, args ...any) {
	fmt.Fprintf(&s.text, "%v "+format+"\n", append([]any{s.now}, args...)...)
}

func (s *script) drain() {
	if s.out == nil {
		return
	}
	out, ended := s.out.Take()
	held, orders := s.in.Take()
	for _, m := range append(out, held...) {
		text := fmt.Sprintf("-> %v %v %d", m.Kind, m.To, m.ID)
		if m.Path != "" {
			text += " " + m.Path
		}
		if m.Reason != nil {
			text += ": " + m.Reason.Error()
		}
		s.printf("%s", text)
	}
	for _, e := range ended {
		s.printf("watch %d ended: %v", e.ID, e.Reason)
	}
	for _, o := range orders {
		s.printf("look after %s: %v", o.Path, o.Begin)
	}
}

func (s *script) do(word []string) error {
	if at, err := time.ParseDuration(word[0]); err == nil {
		s.now = at
		word = word[1:]
		if s.out != nil {
			s.out.Tick(s.now)
			s.in.Tick(s.now)
			s.drain()
		}
	}
	switch word[0] {
	case "new":
		return s.create(word[1:])
	case "tick":
	case "again":
		s.out.Again(s.now)
		s.out.Tick(s.now)
	case "ended":
		s.in.Ended(s.now, word[1], errors.New("stopped"))
	case "endall":
		s.in.EndAll(s.now, errors.New("the node leaves"))
	case "count":
		s.printf("outgoing %d, incoming %d, foreign %d", s.out.Count(), s.in.Count(), s.out.Foreign())
	case "watch", "unwatch":
		return s.own(word)
	default:
		return s.about(word)
	}
	return nil
}

func (s *script) create(word []string) error {
	cfg := Defaults(time.Second)
	for i := 0; i+1 < len(word); i += 2 {
		n, err := strconv.Atoi(word[i+1])
		if err != nil {
			return err
		}
		switch word[i] {
		case "total":
			cfg.MaxTotal = n
		case "pernode":
			cfg.MaxPerNode = n
		case "atonce":
			cfg.AtOnce = n
		}
	}
	s.out, s.in = NewOutgoing(cfg), NewIncoming(cfg)
	return nil
}

// own are the commands of this node's watches.
func (s *script) own(word []string) error {
	id, err := strconv.ParseUint(word[1], 10, 64)
	if err != nil {
		return err
	}
	if word[0] == "unwatch" {
		s.printf("taken back: %v", s.out.Unwatch(id))
		return nil
	}
	node, err := parseNode(word[2])
	if err != nil {
		return err
	}
	if err := s.out.Watch(s.now, id, node, word[3]); err != nil {
		s.printf("refused: %v", err)
	}
	return nil
}

func parseNode(text string) (Node, error) {
	name, number, ok := strings.Cut(text, "@")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return Node{}, fmt.Errorf("%q is no NODE@INC", text)
	}
	return Node{name, n}, nil
}

// about are the inputs about another node.
func (s *script) about(word []string) error {
	node, err := parseNode(word[1])
	if err != nil {
		return err
	}
	var id uint64
	if len(word) > 2 {
		if id, err = strconv.ParseUint(word[2], 10, 64); err != nil {
			return err
		}
	}
	switch word[0] {
	case "watching":
		s.out.Watching(node, id)
	case "terminated":
		s.out.Terminated(node, id, errors.New("stopped"))
	case "down":
		s.out.NodeDown(node, errors.New("node down"))
		s.in.NodeDown(s.now, node)
	case "forget":
		s.out.NodeDown(node, errors.New("node down"))
		s.in.Forget(node)
	case "asks":
		s.in.Watch(s.now, node, id, word[3])
	case "takesback":
		s.in.Unwatch(node, id)
	default:
		return errors.New("no command")
	}
	return nil
}
