package multinode

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// flooder is a client with the keys of a node and code of its own: it is a member, and
// sends to another node what it likes, as fast as the server takes it.
type flooder struct {
	*liar
	victim string // subject of frames to it
	life   uint64

	mu    sync.Mutex
	heard map[string]int // kind and code of what came back
}

// deaf is a connection that can stop reading.
type deaf struct {
	net.Conn
	ears chan struct{} // closed by the test's end
	stop chan struct{} // closed: read no more
}

func (d *deaf) Read(p []byte) (int, error) {
	select {
	case <-d.stop:
		<-d.ears
		return 0, net.ErrClosed
	default:
		return d.Conn.Read(p)
	}
}

// Dial makes the connection, for nats.SetCustomDialer.
func (d *deaf) Dial(network, address string) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, patience)
	d.Conn = c
	return d, err
}

// connectAs connects with the keys of a node.
func (p *page) connectAs(name string, more ...nats.Option) *nats.Conn {
	p.t.Helper()
	id, err := keys.Load(filepath.Join(p.folder("here"), "keys"), name)
	if err != nil {
		p.t.Fatal(err)
	}
	options := append([]nats.Option{
		nats.UserJWT(func() (string, error) { return id.Statement, nil }, id.Sign), nats.Secure(keys.ClientTLS(func() *keys.Identity { return id })),
		nats.CustomInboxPrefix("shop.inbox." + name), nats.ReconnectBufSize(-1),
	}, more...)
	nc, err := nats.Connect(p.prefix+"1:4222", options...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(nc.Close)
	return nc
}

// newFlooder connects, becomes a member, and hears what comes back.
func newFlooder(p *page, victim string) *flooder {
	f := &flooder{liar: listenAs(p.t, p.connectAs("bad"), "shop"), life: uint64(time.Now().UnixMilli()) << 20, heard: map[string]int{}}
	until(p.t, "its heartbeats are heard", func() bool { return f.liar.life(victim) != 0 })
	f.victim = fmt.Sprintf("shop.to.%s.%d.bad.d", victim, f.liar.life(victim))
	_, err := f.nc.Subscribe(fmt.Sprintf("shop.to.bad.%d.>", f.life), func(m *nats.Msg) {
		var in wire.Frame
		if wire.Decode(m.Data, &in, nil) != nil {
			return
		}
		if in.Kind == wire.Ask {
			f.say(fmt.Sprintf("shop.to.%s.%d.bad.d", in.From, in.FromNumber), f.frame(wire.Frame{Kind: wire.Pong, ID: in.ID, Standing: wire.Announced}))
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.heard[fmt.Sprintf("%s %d", in.Kind, in.Code)]++
	})
	if err != nil {
		p.t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		beat := time.NewTicker(300 * time.Millisecond)
		defer beat.Stop()
		for n := uint64(1); ; n++ {
			f.say("shop.members.bad", f.frame(wire.Frame{Kind: wire.Ping, ID: n, Standing: wire.Announced}))
			select {
			case <-stop:
				return
			case <-beat.C:
			}
		}
	}()
	p.t.Cleanup(func() { close(stop); <-ended })
	return f
}

// frame is a frame of this node.
func (f *flooder) frame(w wire.Frame) wire.Frame {
	if w.From = "bad"; w.FromNumber == 0 {
		w.FromNumber = f.life
	}
	return w
}

func (f *flooder) came(kind wire.Kind, code wire.Code) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard[fmt.Sprintf("%s %d", kind, code)]
}

// pulse calls from one node to another, one call after the other, and keeps how long each
// took.
type pulse struct {
	mu   sync.Mutex
	took []time.Duration
}

// p99 is of the calls since the last one.
func (u *pulse) p99() (calls int, p99, longest time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.took
	u.took = nil
	if len(all) == 0 {
		return 0, 0, 0
	}
	slices.Sort(all)
	return len(all), all[len(all)*99/100], all[len(all)-1]
}

func (u *pulse) run(t *testing.T, ctx context.Context, c *caller) {
	for n := 0; ctx.Err() == nil; n++ {
		one, cancel := context.WithTimeout(context.Background(), patience)
		begin := time.Now()
		err := c.once(one, n)
		cancel()
		if err != nil {
			t.Error("a call of the victim: ", err)
			return
		}
		u.mu.Lock()
		u.took = append(u.took, time.Since(begin))
		u.mu.Unlock()
	}
}

var logged = regexp.MustCompile(`(?m)^\S+ \[(WARN|ERROR)\]`)

// TestANodeFloodsAnother lets a node with valid keys send another one, as fast as the
// server takes it, everything that makes a node do or keep something. The memory of the
// victim stays bounded, its calls to a third node go on, the flooder is refused with
// codes where somebody waits for an answer, and what is logged does not follow the flood.
func TestANodeFloodsAnother(t *testing.T) {
	const (
		memory  = 2200            // MiB that the victim may grow by: the limit of the collector, and what it may hold by the package doc; the large floods alone are 3,300
		slowest = 2 * time.Second // p99 of its calls; the flooder, the server and the victim share two cores
		aSecond = 10              // lines that the victim may log
		each    = 100_000
	)
	// Of the nodes: what they hold is looked for, not how much garbage the collector lets
	// stand beside it. Up to this limit it collects before the process grows.
	t.Setenv("GOMEMLIMIT", "900MiB")
	p := openPage(t)
	p.run("here", "./loopmesh keys init keys --cluster shop --voter n1=10.0.0.1 --node n2 --node n3 --node bad")
	for i, more := range []string{"--loops 1 --listen 10.0.0.1:4222", "--loops 2 --chat 10.0.0.2:7000 --join 10.0.0.1:4222", "--loops 1 --join 10.0.0.1:4222"} {
		machine := fmt.Sprintf("10.0.0.%d", i+1)
		p.run("here", fmt.Sprintf("scp -r loopmesh keys/nodes/n%d %s:", i+1, machine))
		p.start(machine, fmt.Sprintf("./loopmesh start --keys n%d %s", i+1, more))
	}
	p.shows("10.0.0.1", "n1", "n2", "n3")
	calls := p.callFrom("10.0.0.2", "n2", "n3")
	conn := aConnection(t, p, calls.client)
	f := newFlooder(p, "n2")
	p.until("n2 has a member bad", func() bool {
		list, err := calls.client.Nodes(testCtx(t))
		return err == nil && slices.ContainsFunc(list.Items, func(n admin.Node) bool { return n.ID == "bad" })
	})

	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	defer busy.Wait()
	defer cancel()
	beat := &pulse{}
	busy.Go(func() { beat.run(t, ctx, calls) })
	p.until("the victim calls", func() bool { return calls.good.Load() > 200 })
	n, p99, _ := beat.p99()
	t.Logf("before: %d calls, p99 %v", n, p99)

	victim, server := p.running["10.0.0.2"], p.running["10.0.0.1"]
	before, beforeServer := resident(t, victim.cmd.Process.Pid), resident(t, server.cmd.Process.Pid)
	begun, worst := time.Now(), 0
	for _, flood := range f.floods(p, conn, each) {
		from := time.Now()
		for i := range flood.count {
			flood.one(i)
			if i%1024 == 0 {
				worst = max(worst, resident(t, victim.cmd.Process.Pid))
			}
		}
		if err := f.nc.FlushWithContext(testCtx(t)); err != nil {
			t.Fatal(flood.what, err)
		}
		good := calls.good.Load()
		p.until("the victim calls on during "+flood.what, func() bool { return calls.good.Load() >= good+20 || t.Failed() })
		n, p99, longest := beat.p99()
		worst = max(worst, resident(t, victim.cmd.Process.Pid))
		t.Logf("%d %s in %v: %d calls of the victim, p99 %v, longest %v; it has %d MiB", flood.count, flood.what, time.Since(from).Round(time.Millisecond), n,
			p99.Round(time.Millisecond), longest.Round(time.Millisecond), resident(t, victim.cmd.Process.Pid))
		if p99 > slowest*shadow {
			t.Errorf("during %s: p99 of the victim's calls is %v", flood.what, p99)
		}
	}
	for what, came := range map[string]int{
		"call of an order": f.came(wire.Error, wire.Refused), "call of a full loop": f.came(wire.Error, wire.Busy),
		"cast": f.came(wire.Credit, wire.Busy), "watch": f.came(wire.Terminated, wire.Busy), "unknown function": f.came(wire.Error, wire.UnknownFunction),
	} {
		if came == 0 {
			t.Errorf("no refusal of a %s: %v", what, f.heard)
		}
	}
	t.Logf("what came back, by kind and code: %v", f.heard)
	if worst > before+memory {
		t.Errorf("the victim had %d MiB, %d before", worst, before)
	}
	if now := resident(t, server.cmd.Process.Pid); now > beforeServer+memory {
		t.Errorf("the server has %d MiB, %d before", now, beforeServer)
	}
	lines, most := len(logged.FindAllString(victim.out.String(), -1)), aSecond*int(time.Since(begun)/time.Second+1)
	t.Logf("the victim logged %d lines in %v; at most %d MiB, %d before", lines, time.Since(begun).Round(time.Second), worst, before)
	if lines > most {
		t.Errorf("the victim logged %d lines, at most %d are expected", lines, most)
	}
	if err := p.callFrom("10.0.0.3", "n3", "n2").once(testCtx(t), 1); err != nil {
		t.Error("a third node calls the victim: ", err)
	}
}

// aConnection is the address of a connection of the victim.
func aConnection(t *testing.T, p *page, c *admin.Client) string {
	t.Helper()
	peer, err := net.Dial("tcp", p.prefix+"2:7000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	path := ""
	p.until("the connection is listed", func() bool {
		list, err := c.Conns(testCtx(t))
		if err != nil || len(list.Items) == 0 {
			return false
		}
		path = strings.TrimPrefix(list.Items[0].ID, "n2/")
		return true
	})
	return path
}

// aFlood is one kind of flood: one sends the frame number i.
type aFlood struct {
	what  string
	count int
	one   func(i int)
}

// floods are what bad sends to the victim, which has a loop io-0 that nothing fills, a
// loop io-1, and a connection.
func (f *flooder) floods(p *page, conn string, each int) []aFlood {
	say := func(w wire.Frame) { f.say(f.victim, f.frame(w)) }
	garbage := make([]byte, 4096)
	if _, err := rand.Read(garbage); err != nil {
		f.t.Fatal(err)
	}
	hour, _ := json.Marshal("1h")
	large, _ := json.Marshal(strings.Repeat("x", 900<<10))
	call := func(id int, loop, function string, payload []byte) wire.Frame {
		return wire.Frame{Kind: wire.Call, ID: uint64(id + 1), Path: loop, Function: function, Codec: wire.JSON, Payload: payload}
	}
	cast := func(op wire.Op, flow, n int, payload []byte) wire.Frame {
		size := uint64(len(payload) + 128)
		return wire.Frame{
			Kind: wire.Cast, Path: "io-1", Function: "demo.sleep", Op: op, When: int64(time.Hour), Codec: wire.JSON, Payload: payload,
			Flow: uint64(flow + 1), At: wire.Amount{Messages: uint64(n), Bytes: uint64(n) * size},
		}
	}
	d := &deaf{ears: make(chan struct{}), stop: make(chan struct{})}
	f.t.Cleanup(func() { close(d.ears) })
	silent := p.connectAs("bad", nats.SetCustomDialer(d), nats.NoReconnect())
	if _, err := silent.SubscribeSync(fmt.Sprintf("shop.to.bad.%d.>", f.life+1)); err != nil {
		f.t.Fatal(err)
	}
	if err := silent.Flush(); err != nil {
		f.t.Fatal(err)
	}
	close(d.stop)
	next := each // ids of calls
	return []aFlood{
		{"garbage", each, func(i int) {
			if err := f.nc.Publish(f.victim, garbage[i%1000:i%1000+i%3000]); err != nil {
				f.t.Fatal(err)
			}
		}},
		{"garbage on the way of bytes", each, func(i int) {
			if err := f.nc.Publish(strings.Replace(f.victim, ".to.", ".bulk.", 1), garbage[:i%3000]); err != nil {
				f.t.Fatal(err)
			}
		}},
		{"calls whose answers nobody reads", each, func(i int) {
			w := call(i, "io-0", "demo.add", []byte("[1,2]"))
			w.FromNumber = f.life + 1
			say(w)
		}},
		{"orders", each, func(i int) { next++; say(call(next, "io-0", "loopmesh.order.task.cancel", []byte("{}"))) }},
		{"unknown functions", each, func(i int) { next++; say(call(next, "io-0", fmt.Sprint("no.such.", i), []byte("{}"))) }},
		{"large calls", 500, func(i int) { next++; say(call(next, "io-1", "demo.sleep", large)) }},
		{"calls that do not end", each / 2, func(i int) { next++; say(call(next, "io-1", "demo.sleep", hour)) }},
		{"timers", 2 * each, func(i int) { say(cast(wire.Later, i/400, i%400, hour)) }},
		{"casts for a full loop, in many flows", 24_000, func(i int) { say(cast(wire.Soon, each+i/4, i%4, large[:120<<10])) }},
		{"flows", 2 * each, func(i int) {
			say(wire.Frame{Kind: wire.Sync, Path: "io-0", Flow: uint64(2*each + i), At: wire.Amount{Messages: 1, Bytes: 1}})
		}},
		{"flows of other lives", 2 * each, func(i int) {
			say(wire.Frame{Kind: wire.Sync, FromNumber: f.life + 2 + uint64(i/2000), Path: "io-0", Flow: uint64(i), At: wire.Amount{Messages: 1, Bytes: 1}})
		}},
		{"watches", each, func(i int) { say(wire.Frame{Kind: wire.Watch, ID: uint64(i + 1), Path: fmt.Sprint("io-", i)}) }},
		{"watches that stay", each, func(i int) { say(wire.Frame{Kind: wire.Watch, ID: uint64(each + i + 1), Path: "io-0"}) }},
		{"streams", each, func(i int) {
			say(wire.Frame{Kind: wire.Stream, ID: uint64(i + 1), Op: wire.Open, Flow: uint64(i + 1), Path: conn})
		}},
		{"messages to nobody", each, func(i int) {
			say(wire.Frame{Kind: wire.Tell, Path: fmt.Sprint("nobody-", i), Function: "no.such", Codec: wire.Raw, Flow: uint64(5*each + i/400), At: wire.Amount{Messages: uint64(i % 400), Bytes: 128 * uint64(i%400)}})
		}},
		{"questions for a name", each, func(i int) {
			f.say("shop.name.n2.bad", f.frame(wire.Frame{Kind: wire.Probe, FromNumber: f.life + uint64(i)}))
		}},
		{"lives of its own name", each, func(i int) {
			f.say("shop.members.bad", f.frame(wire.Frame{Kind: wire.Claim, FromNumber: f.life + uint64(i), Standing: wire.Announced}))
		}},
	}
}
