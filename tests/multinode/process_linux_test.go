package multinode

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
)

// program builds cmd/node once and returns its path.
var program = sync.OnceValues(func() (string, error) {
	var err error
	if workshop, err = os.MkdirTemp("", "loopmesh-program-"); err != nil {
		return "", err
	}
	path := filepath.Join(workshop, "loopmesh")
	out, err := exec.Command("go", "build", "-o", path, "github.com/loopmesh/loopmesh/cmd/node").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func built(t testing.TB) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// process is a node of the built program.
type process struct {
	cmd    *exec.Cmd
	name   string
	chat   string
	said   chan string // its lines; closed when it ends
	errs   *bytes.Buffer
	exited chan struct{}
}

var chatAt = regexp.MustCompile(`^\s+chat\s+(\S+)$`)

// boot starts a node and waits until it serves. It is killed with the test.
func boot(t *testing.T, name, at string) *process {
	t.Helper()
	return bootFrom(t, built(t), name, at)
}

// bootFrom is boot with another program.
func bootFrom(t *testing.T, program, name, at string) *process {
	t.Helper()
	p := &process{name: name, said: make(chan string, 100), errs: &bytes.Buffer{}, exited: make(chan struct{})}
	p.cmd = exec.Command(program, "start", "--name", name, "--join", at, "--loops", "1", "--chat", "127.0.0.1:0")
	p.cmd.Stderr = p.errs
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			p.said <- in.Text()
		}
		close(p.said)
		_ = p.cmd.Wait() // the test looks at ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // one that has ended needs none
		<-p.exited
		if t.Failed() {
			t.Logf("%s said on stderr:\n%s", name, p.errs)
		}
	})
	for line := range p.said {
		if m := chatAt.FindStringSubmatch(line); m != nil {
			p.chat = m[1]
		}
		if strings.HasPrefix(line, "Ctrl-C") {
			return p
		}
	}
	<-p.exited
	t.Fatalf("%s ended: %v: %s", name, p.cmd.ProcessState, p.errs)
	return nil
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// ended waits for the end and returns the exit code.
func (p *process) ended(t *testing.T) int {
	t.Helper()
	receive(t, p.name+" to end", p.exited)
	return p.cmd.ProcessState.ExitCode()
}

// ask runs the program for its answer.
func ask(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	cmd := exec.CommandContext(testCtx(t), built(t), args...)
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// quarter is the NATS of a test and a node of it in this process, and three
// processes n1, n2, n3.
func quarter(t *testing.T) (*cluster.Node, []*process) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	hub := join(t, cluster.Config{Name: "hub", Listen: "127.0.0.1:0"})
	api, err := admin.Open(hub, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	var all []*process
	for i := range 3 {
		all = append(all, boot(t, fmt.Sprintf("n%d", i+1), strings.TrimPrefix(hub.URL(), "nats://")))
	}
	waitMembers(t, hub, 4)
	for _, p := range all { // each learns of the others by itself: hub's view is not theirs
		until(t, p.name+" knows all nodes", func() bool { return len(nodesOf(t, "--node", p.name)) == 4 })
	}
	return hub, all
}

// client is one end of a chat.
type client struct {
	net.Conn
	in *bufio.Scanner
}

func enter(t *testing.T, p *process) *client {
	t.Helper()
	c, err := net.DialTimeout("tcp", p.chat, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	cl := &client{c, bufio.NewScanner(c)}
	if got := cl.hear(t); !strings.HasPrefix(got, "* you are "+p.name+" ") {
		t.Fatal(got)
	}
	return cl
}

func (c *client) hear(t *testing.T) string {
	t.Helper()
	if !c.in.Scan() {
		t.Fatal("the connection ended:", c.in.Err())
	}
	return c.in.Text()
}

// talk says a line and wants everybody to hear it.
func talk(t *testing.T, text string, from *client, all ...*client) {
	t.Helper()
	if _, err := io.WriteString(from, text+"\n"); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		for {
			got := c.hear(t)
			if strings.HasSuffix(got, ": "+text) {
				break
			}
			if !strings.HasPrefix(got, "*: ") { // news about a node that is not reached
				t.Fatalf("heard %q, want %q", got, text)
			}
		}
	}
}
