package multinode

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// page is docs/three-machines.md with addresses of this machine: each machine of the
// page is a folder, and its address one of 127.0.0.0/8.
type page struct {
	t       *testing.T
	home    string
	prefix  string                        // of the addresses, instead of 10.0.0.
	inside  func(machine string) []string // words before a command that runs on a machine; nil: none
	running map[string]*started
}

// started is a node that a command of the page started.
type started struct {
	line   string
	cmd    *exec.Cmd
	out    *lockedBuffer
	exited chan struct{}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var blocks = regexp.MustCompile("(?s)```sh (\\S+)\n(.*?)```")

// openPage makes the machines, each with the program in its folder.
func openPage(t *testing.T) *page {
	p := &page{t: t, home: t.TempDir(), prefix: fmt.Sprintf("127.%d.0.", 20+os.Getpid()%200), running: map[string]*started{}}
	for _, m := range []string{"here", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"} {
		if err := os.MkdirAll(filepath.Join(p.folder(m), "run"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(built(t))
	if err == nil {
		err = os.WriteFile(filepath.Join(p.folder("here"), "loopmesh"), program, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *page) folder(machine string) string { return filepath.Join(p.home, machine) }

// command is a shell line as if it were typed on that machine. scp copies between
// the folders.
func (p *page) command(ctx context.Context, machine, line string) *exec.Cmd {
	local := strings.ReplaceAll(line, "10.0.0.", p.prefix)
	script := fmt.Sprintf(`scp() {
	recursive=; if [ "$1" = -r ]; then recursive=-r; shift; fi
	for last; do :; done
	to=%q/10.0.0.${last##*.}; to=$(printf %%s "$to" | sed 's/:.*//')/${last#*:}
	while [ $# -gt 1 ]; do cp $recursive "$1" "$to" || return; shift; done
}
%s`, p.home, local)
	words := []string{"sh", "-c", script}
	if p.inside != nil {
		words = append(p.inside(machine), words...)
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = p.folder(machine)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+filepath.Join(p.folder(machine), "run"))
	return cmd
}

// run runs a line to its end and returns what it prints.
func (p *page) run(machine, line string) string {
	p.t.Helper()
	out, err := p.command(testCtx(p.t), machine, line).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s$ %s\n%s%v", machine, line, out, err)
	}
	return string(out)
}

// start starts a node and waits until it says that it is up.
func (p *page) start(machine, line string) {
	p.t.Helper()
	s := &started{line: line, out: &lockedBuffer{}, exited: make(chan struct{})}
	s.cmd = p.command(context.Background(), machine, "exec "+line)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.running[machine] = s
	go func() { _ = s.cmd.Wait(); close(s.exited) }()
	p.t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // one that has ended needs none
		<-s.exited
		if p.t.Failed() {
			p.t.Logf("%s$ %s\n%s", machine, line, s.out)
		}
	})
	p.until(machine+" is up", func() bool {
		select {
		case <-s.exited:
			p.t.Fatalf("%s$ %s\n%s", machine, line, s.out)
		default:
		}
		return strings.Contains(s.out.String(), "Ctrl-C shuts it down")
	})
}

func (p *page) kill(machine string) string {
	s := p.running[machine]
	if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	receive(p.t, "the end of "+machine, s.exited)
	return s.line
}

func (p *page) until(what string, ok func() bool) {
	p.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			p.t.Fatal("still not so: ", what)
		}
	}
}

// nodes are those that ls shows on a machine, without those that it keeps because they
// died.
func (p *page) nodes(machine string) []string {
	out, _ := p.command(testCtx(p.t), machine, "./loopmesh ls -o json").Output() // a part of the cluster is an answer as well
	var list admin.List[admin.Node]
	if json.Unmarshal(out, &list) != nil {
		return nil
	}
	var names []string
	for _, n := range list.Items {
		if n.State != admin.Dead {
			names = append(names, n.ID)
		}
	}
	slices.Sort(names)
	return names
}

func (p *page) shows(machine string, want ...string) {
	p.t.Helper()
	p.until(fmt.Sprint(machine, " shows ", want), func() bool { return slices.Equal(p.nodes(machine), want) })
}

// TestThreeMachinesAsPrinted runs the commands of docs/three-machines.md in order,
// then ends each voter in turn while a call a moment goes on between the others.
func TestThreeMachinesAsPrinted(t *testing.T) {
	text, err := os.ReadFile("../../docs/three-machines.md")
	if err != nil {
		t.Fatal(err)
	}
	p := openPage(t)
	steps := blocks.FindAllStringSubmatch(string(text), -1)
	if len(steps) < 7 {
		t.Fatalf("the page has %d blocks of commands", len(steps))
	}
	later := len(steps) - 1 // "Keys later" comes after the voters were ended
	for _, s := range steps[:later] {
		for line := range strings.Lines(s[2]) {
			p.step(s[1], strings.TrimSpace(line))
		}
	}
	call := "./loopmesh func call demo.add '[1,2]' --on %s/io-0"
	for i, machine := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		gone, left := fmt.Sprintf("n%d", i+1), []string{"n1", "n2", "n3", "n4"}
		left = slices.DeleteFunc(left, func(n string) bool { return n == gone })
		line := p.kill(machine)
		p.shows("10.0.0.4", left...)
		for _, name := range left {
			if out := p.run("10.0.0.4", fmt.Sprintf(call, name)); strings.TrimSpace(out) != "3" {
				t.Errorf("without %s, %s answers %q", gone, name, out)
			}
		}
		p.start(machine, line)
		p.shows("10.0.0.4", "n1", "n2", "n3", "n4")
	}
	for line := range strings.Lines(steps[later][2]) {
		p.step(steps[later][1], strings.TrimSpace(line))
	}
	// The servers end n4's connections with the old keys at a moment of their own; it
	// comes back with those in its folder. A call in between is refused at once.
	p.until("n4 calls with its new keys", func() bool {
		out, err := p.command(testCtx(t), "10.0.0.4", fmt.Sprintf(call, "n1")).Output()
		return err == nil && strings.TrimSpace(string(out)) == "3" && slices.Contains(p.nodes("10.0.0.1"), "n4")
	})
}

// step runs one line of the page.
func (p *page) step(machine, line string) {
	p.t.Helper()
	switch {
	case strings.HasPrefix(line, "./loopmesh start"):
		p.start(machine, line)
	case line == "./loopmesh ls":
		p.shows(machine, "n1", "n2", "n3", "n4")
		p.run(machine, line)
	default:
		out := p.run(machine, line)
		if strings.Contains(line, "func call") && strings.TrimSpace(out) != "3" {
			p.t.Errorf("%s prints %q", line, out)
		}
	}
}
