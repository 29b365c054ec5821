package prove

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// process is a node of its own, in its present life.
type process struct {
	role   role
	inside []string // words before its command line: a network namespace

	mu  sync.Mutex
	now *life // nil: it is down
}

// life is one process of the system.
type life struct {
	cmd    *exec.Cmd
	errs   bytes.Buffer  // read it when exited is closed
	ready  chan struct{} // closed when it serves
	exited chan struct{}
}

// begin starts another life and returns at once.
func (p *process) begin() (*life, error) {
	me, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.role.Life++
	text, err := json.Marshal(p.role)
	if err != nil {
		return nil, err
	}
	words := append(append([]string{}, p.inside...), me, "-test.run=^$")
	l := &life{cmd: exec.Command(words[0], words[1:]...), ready: make(chan struct{}), exited: make(chan struct{})}
	l.cmd.Env = append(os.Environ(), roleVariable+"="+string(text))
	l.cmd.Stderr = &l.errs
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		err = l.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			if in.Text() == "ready" {
				close(l.ready)
			}
		}
		_ = l.cmd.Wait() // its state is looked at
		close(l.exited)
	}()
	p.now = l
	return l, nil
}

// start begins another life and waits until it serves.
func (p *process) start(limit time.Duration) error {
	l, err := p.begin()
	if err != nil {
		return err
	}
	return l.serves(p.role.Node, limit)
}

func (l *life) serves(name string, limit time.Duration) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-l.ready:
		return nil
	case <-l.exited:
		return fmt.Errorf("%s ended: %v: %s", name, l.cmd.ProcessState, last(l.errs.String()))
	case <-late.C:
		return fmt.Errorf("%s does not serve after %v", name, limit)
	}
}

// last is the end of what a process said.
func last(text string) string { return text[max(0, len(text)-2000):] }

func (p *process) alive() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *process) signal(s syscall.Signal) error {
	if l := p.alive(); l != nil {
		return l.cmd.Process.Signal(s)
	}
	return nil
}

// kill ends it as kill -9 does, and waits until it is gone.
func (p *process) kill() {
	l := p.alive()
	if l == nil {
		return
	}
	_ = l.cmd.Process.Kill() // gone already is as good
	<-l.exited
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == l {
		p.now = nil
	}
}

// ended waits for the end of a life.
func (l *life) ended(limit time.Duration) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-l.exited:
		return nil
	case <-late.C:
		return fmt.Errorf("the process %d lives after %v", l.cmd.Process.Pid, limit)
	}
}

// resident reads how many bytes of memory a process has.
func (l *life) resident() (uint64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(l.cmd.Process.Pid), "statm"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm: %q", text)
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize()), err
}

// measure writes down the memory of the processes, until stop is closed.
func measure(all []*process, stop <-chan struct{}) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		for _, p := range all {
			if l := p.alive(); l != nil {
				if n, err := l.resident(); err == nil && n > 0 { // one that has just ended has none
					written.Add(history.Event{Op: history.Memory, To: p.role.Node, N: n})
				}
			}
		}
	}
}
