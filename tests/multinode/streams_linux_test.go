package multinode

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// floodTo, when set in the environment, makes this program a node that writes without
// end to the connection at that address.
const floodTo = "LOOPMESH_TEST_FLOOD_TO"

var _ = addRole(floodTo, flood)

func flood(target string) error {
	ctx := context.Background()
	n, err := cluster.Start(ctx, cluster.Config{Name: "flood", Join: []string{os.Getenv(floodTo + "_AT")}, Logger: hclog.NewNullLogger()})
	if err != nil {
		return err
	}
	far, err := n.Transport(ctx, target)
	if err != nil {
		return err
	}
	fmt.Println("writing")
	for p := make([]byte, 64<<10); ; {
		if err := far.WriteWait(ctx, p); err != nil {
			return err
		}
	}
}

// served is a connection on a loop of this process and its peer.
type served struct {
	address string
	peer    net.Conn
	tr      transportactors.Transport
}

func serveOne(t *testing.T, n *cluster.Node, l *loopnode.Loop) *served {
	t.Helper()
	k := &keeper{make(chan transportactors.Transport, 1)}
	server := loopnode.RunCoroutineThreadsafe(l.Ref(), "serve", func(ctx context.Context) (*transportactors.Server, error) {
		return transportactors.CreateServer(ctx, func() transportactors.Protocol { return k }, "tcp", "127.0.0.1:0")
	})
	s, err := server.Wait(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	out := &served{peer: c, tr: receive(t, "the connection", k.made)}
	path := make(chan string, 1)
	if err := l.Ref().CallSoonThreadsafe(func() { path <- out.tr.Ref().Address().Path }); err != nil {
		t.Fatal(err)
	}
	out.address = n.Name() + "/" + receive(t, "its address", path)
	return out
}

// TestAStreamWhoseWriterIsKilled: the connection is its owner's and goes on; what was
// on its way is written or not, and nothing is held for the dead.
func TestAStreamWhoseWriterIsKilled(t *testing.T) {
	hub := join(t, cluster.Config{Name: "hub", Listen: "127.0.0.1:0"})
	s := serveOne(t, hub, newLoop(t, hub, "io-0"))
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(me)
	cmd.Env = append(os.Environ(), floodTo+"="+s.address, floodTo+"_AT="+strings.TrimPrefix(hub.URL(), "nats://"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // it may have been killed
		_ = cmd.Wait()         // its state is of no interest
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "writing\n" {
		t.Fatalf("the writer said %q, %v", line, err)
	}
	if _, err := io.CopyN(io.Discard, s.peer, 8<<20); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitMembers(t, hub, 1)
	near, err := hub.Transport(testCtx(t), s.address)
	if err != nil {
		t.Fatal(err)
	}
	if err := near.Write([]byte("the last ones")); err != nil {
		t.Fatal(err)
	}
	near.Close()
	all, err := io.ReadAll(s.peer)
	if !strings.HasSuffix(string(all), "\x00the last ones") || err != nil {
		t.Errorf("the connection ends with %q, %v", all[max(0, len(all)-20):], err)
	}
	if most := 6 << 20; len(all) > most { // the window and the buffers of the kernel
		t.Errorf("%d bytes came after the writer's end", len(all))
	}
}

// TestAStreamWhoseHolderIsKilled: the writer hears it, also one that waits.
func TestAStreamWhoseHolderIsKilled(t *testing.T) {
	hub, all := quarter(t)
	c := enter(t, all[0])
	target := ""
	until(t, "the connection is listed", func() bool {
		out, _, _ := ask(t, "conn", "ls", "-o", "json", "--node", "n1")
		var list admin.List[admin.Conn]
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatal(err)
		}
		for _, conn := range list.Items {
			if conn.Peer == c.LocalAddr().String() {
				target = conn.ID
			}
		}
		return target != ""
	})
	far, err := hub.Transport(testCtx(t), target)
	if err != nil {
		t.Fatal(err)
	}
	if err := far.Write([]byte("hello from hub\n")); err != nil {
		t.Fatal(err)
	}
	if got := c.hear(t); got != "hello from hub" {
		t.Fatalf("heard %q", got)
	}
	ended := make(chan error, 1)
	go func() { ended <- far.WriteWait(context.Background(), make([]byte, 256<<20)) }()
	until(t, "the window is full", func() bool { return far.WriteBufferSize() > 1<<19 })
	all[0].signal(t, syscall.SIGKILL)
	if err := receive(t, "the writer", ended); !errors.Is(err, cluster.ErrNodeDown) && !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("the writer got %v", err)
	}
	receive(t, "the end", far.Done())
}
