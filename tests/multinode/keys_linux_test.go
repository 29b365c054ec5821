package multinode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

// caller calls a function of one process from another, one call after the other.
type caller struct {
	from, to string
	client   *admin.Client // of the process that calls
	good     atomic.Int64
	failed   chan error // at most one; then it has ended
}

// once is one call, which has to return its right answer.
func (c *caller) once(ctx context.Context, n int) error {
	out, err := c.client.Call(ctx, admin.CallRequest{Function: "demo.add", On: c.to + "/io-0", Payload: json.RawMessage(fmt.Sprintf("[%d,1]", n))})
	switch {
	case err != nil:
		return err
	case string(out.Result) != fmt.Sprint(n+1):
		return fmt.Errorf("%d+1 is %s", n, out.Result)
	}
	c.good.Add(1)
	return nil
}

func (c *caller) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		err := c.once(one, n)
		cancel()
		if err != nil {
			c.failed <- err
			return
		}
	}
}

// cutOffCodes are of calls from a node that is cut off: no connection, no such node, the
// node is down, no answer in time.
var cutOffCodes = []string{"LM7101", "LM3102", "LM3111", "LM3101"}

// callFrom makes a caller that goes through the process of a node, which was started on
// that machine.
func (p *page) callFrom(machine, from, to string) *caller {
	client := admin.NewClient(filepath.Join(p.folder(machine), "run", "loopmesh", from+".sock"))
	p.t.Cleanup(client.Close)
	return &caller{from: from, to: to, client: client, failed: make(chan error, 1)}
}

// TestKeysChangeWhileProcessesCall adds, rotates and revokes keys with the commands of the
// program while its processes call each other. No call between nodes whose keys are valid
// fails, a node with new keys joins, old keys are not accepted any more, and a node whose
// keys are revoked is cut off within cutOffWithin and cannot come back.
func TestKeysChangeWhileProcessesCall(t *testing.T) {
	const cutOffWithin = 20 * time.Second // the page says two; this machine may be busy
	p := openPage(t)
	p.run("here", "./loopmesh keys init keys --cluster shop --voter n1=10.0.0.1 --node n2 --node n3 --node bad")
	start := func(machine, name, more string) {
		p.run("here", fmt.Sprintf("scp -r loopmesh keys/nodes/%s %s:", name, machine))
		p.start(machine, fmt.Sprintf("./loopmesh start --keys %s --loops 1 --log-level info %s", name, more))
	}
	start("10.0.0.1", "n1", "--listen 10.0.0.1:4222")
	for i, name := range []string{"n2", "n3", "bad"} {
		start(fmt.Sprintf("10.0.0.%d", i+2), name, "--join 10.0.0.1:4222")
	}
	p.shows("10.0.0.1", "bad", "n1", "n2", "n3")
	old := filepath.Join(p.folder("here"), "old")
	p.run("here", "cp -r keys/nodes/n2 old")

	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	defer busy.Wait()
	defer cancel()
	callers := []*caller{p.callFrom("10.0.0.2", "n2", "n3"), p.callFrom("10.0.0.3", "n3", "n2"), p.callFrom("10.0.0.1", "n1", "n2"), p.callFrom("10.0.0.2", "n2", "n1")}
	bad := p.callFrom("10.0.0.4", "bad", "n2")
	for _, c := range append(slices.Clone(callers), bad) {
		busy.Go(func() { c.run(ctx) })
	}
	goOn := func(what string) {
		t.Helper()
		for _, c := range callers {
			before := c.good.Load()
			p.until(fmt.Sprintf("%s calls %s after %s", c.from, c.to, what), func() bool {
				select {
				case err := <-c.failed:
					t.Fatalf("call %d from %s to %s, after %s: %v", c.good.Load(), c.from, c.to, what, err)
				default:
				}
				return c.good.Load() >= before+20
			})
		}
	}
	goOn("the start")

	moved := func(machine string) int {
		return strings.Count(p.running[machine].out.String(), "moved to new keys")
	}
	for i, name := range []string{"n2", "n3", "n1"} {
		machine := fmt.Sprintf("10.0.0.%d", []int{2, 3, 1}[i])
		before := moved(machine)
		p.run("here", fmt.Sprintf("./loopmesh keys rotate keys %[1]s && scp -r keys/nodes/%[1]s %[2]s:", name, machine))
		p.until(name+" has moved to its new keys", func() bool { return moved(machine) > before })
		goOn("keys rotate " + name)
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		p.run("here", "./loopmesh keys revoke keys "+name+" --old && scp keys/authority/account.jwt 10.0.0.1:n1/")
		goOn("keys revoke --old " + name)
	}
	id, err := keys.Load(old, "n2")
	if err != nil {
		t.Fatal(err)
	}
	p.until("the old keys are refused", func() bool {
		nc, err := nats.Connect(p.prefix+"1:4222", nats.UserJWT(func() (string, error) { return id.Statement, nil }, id.Sign),
			nats.Secure(keys.ClientTLS(func() *keys.Identity { return id })))
		if err == nil {
			nc.Close()
		}
		return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthRevoked)
	})

	if len(bad.failed) != 0 {
		t.Fatal("a call from bad, before its keys were revoked: ", <-bad.failed)
	}
	begin := time.Now()
	p.run("here", "./loopmesh keys revoke keys bad && scp keys/authority/account.jwt 10.0.0.1:n1/")
	why := receive(t, "the end of bad's calls", bad.failed)
	if took := time.Since(begin); took > cutOffWithin {
		t.Errorf("bad called for %v after its keys were revoked", took)
	} else {
		t.Logf("bad was cut off after %v: %v", took.Round(time.Millisecond), why)
	}
	var coded *admin.Error
	if !errors.As(why, &coded) || !slices.Contains(cutOffCodes, coded.Code) {
		t.Errorf("bad's call ended in %v, want a code of %v", why, cutOffCodes)
	}
	p.shows("10.0.0.1", "n1", "n2", "n3")
	called := bad.good.Load()
	if err := bad.once(testCtx(t), 1); err == nil || bad.good.Load() != called {
		t.Error("bad calls again: ", err)
	}
	goOn("keys revoke bad")
	p.kill("10.0.0.4")
	out, err := p.command(testCtx(t), "10.0.0.4", "./loopmesh start --keys bad --join 10.0.0.1:4222").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "keys") {
		t.Errorf("bad starts again: %v\n%s", err, out)
	}

	p.run("here", "./loopmesh keys add keys n5")
	start("10.0.0.4", "n5", "--join 10.0.0.1:4222")
	p.shows("10.0.0.1", "n1", "n2", "n3", "n5")
	if err := p.callFrom("10.0.0.4", "n5", "n2").once(testCtx(t), 1); err != nil {
		t.Error("the new node calls: ", err)
	}
	goOn("keys add n5")
	cancel()
	busy.Wait()
	for _, c := range callers {
		if len(c.failed) != 0 {
			t.Errorf("a call from %s to %s: %v", c.from, c.to, <-c.failed)
		}
		t.Logf("%d calls from %s to %s", c.good.Load(), c.from, c.to)
	}
}
