package soak

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
)

var (
	lasting = flag.Duration("for", 0, "how long to work; 0: some seconds, of which no line is asked")
	leak    = flag.Bool("leak", false, "plant a leak: a goroutine that stays, for every second call")
)

func TestMain(m *testing.M) {
	if text := os.Getenv(roleVariable); text != "" {
		fmt.Fprintln(os.Stderr, live(text))
		os.Exit(1)
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}

// limit bounds what has to be done at once.
const limit = time.Minute

// ground is the processes of a run.
type ground struct {
	t         *testing.T
	join      []string
	hub, stay *process
	fall      *process // in its present life; of kills, while it runs
}

// start starts the node that the test is, and the processes.
func start(t *testing.T) (*ground, *load) {
	t.Helper()
	g := &ground{t: t}
	spawned := func(r role) *process {
		p, err := spawn(r)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	g.hub = spawned(role{Node: "hub", Listen: "127.0.0.1:0", Store: t.TempDir()})
	t.Cleanup(g.hub.kill)
	g.join = []string{strings.TrimPrefix(strings.TrimSpace(g.hub.url), "nats://")}
	g.stay = spawned(role{Node: "stay", Join: g.join})
	t.Cleanup(g.stay.kill)
	g.fall = spawned(role{Node: "fall", Join: g.join})
	t.Cleanup(func() { g.fall.kill() })
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	n, ref, err := startNode(ctx, role{Node: "edge", Join: g.join})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	if err := n.WaitMembers(ctx, 4); err != nil {
		t.Fatal(err)
	}
	return g, &load{node: n, ref: ref, done: map[string]uint64{}, end: make(chan struct{})}
}

// kills kills one of the processes again and again, and starts it anew.
func (g *ground) kills(ctx context.Context, l *load, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		g.fall.kill()
		p, err := spawn(role{Node: "fall", Join: g.join})
		if err != nil {
			l.fault("a new life", err)
			return
		}
		g.fall = p
		l.did("kills", 1)
	}
}

// lookAt measures a process through a call, or this one.
func (l *load) lookAt(ctx context.Context, process string) (map[string]float64, error) {
	if process == l.node.Name() {
		return lookHere()
	}
	ref, err := l.node.Ref(process + "/" + address)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return looked.Via(l.node).Call(within, ref, struct{}{})
}

// looks measures all again and again, until ctx is done.
func (l *load) looks(ctx context.Context, r *run, every time.Duration) {
	begun, tick := time.Now(), time.NewTicker(every)
	defer tick.Stop()
	var cold uint64
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			r.Kept = l.sent - cold
			l.mu.Unlock()
			return
		case <-tick.C:
		}
		at := time.Since(begun)
		if at < r.Warm {
			l.mu.Lock()
			cold = l.sent
			l.mu.Unlock()
		}
		for _, process := range []string{"edge", "hub", "stay"} {
			seen, err := l.lookAt(ctx, process)
			if err != nil {
				if ctx.Err() == nil {
					l.fault("a look at "+process, err)
				}
				continue
			}
			if process == "edge" {
				if slow, ok := l.slow(); ok {
					seen[p99] = slow
				}
			}
			r.Looks = append(r.Looks, look{Process: process, At: at, Seen: seen})
		}
	}
}

// lasts waits until the run has lasted for so long and enough was done, which may take limit
// more on a machine that is busy.
func (l *load) lasts(d time.Duration, enough func(done map[string]uint64) bool) {
	<-time.After(d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); time.Now().Before(end); <-tick.C {
		l.mu.Lock()
		ok := enough(l.done)
		l.mu.Unlock()
		if ok {
			return
		}
	}
}

// soak works for so long, and until enough was done, and tells what was done and seen.
func soak(t *testing.T, d time.Duration, enough func(done map[string]uint64) bool) run {
	t.Helper()
	g, l := start(t)
	server, client := certificate(t)
	r := run{Lasted: d, Warm: min(d/4, 3*time.Minute)}
	ended := make(chan struct{})
	onLoop := loopnode.RunCoroutineThreadsafe(l.ref, "load", func(ctx context.Context) (struct{}, error) {
		defer close(ended)
		return struct{}{}, l.onLoop(ctx, server, client)
	})
	ctx, cancel := context.WithCancel(t.Context()) // a deadline would be one of the calls, too
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { l.lasts(d, enough); cancel() })
	all.Go(func() { l.inCluster(ctx) })
	all.Go(func() { g.kills(ctx, l, max(2*time.Second, min(d/10, 20*time.Second))) })
	all.Go(func() { l.looks(ctx, &r, max(100*time.Millisecond, min(d/100, 5*time.Second))) })
	all.Wait()
	close(l.end)
	l.leaked.Wait()
	onLoop.Cancel()
	select {
	case <-ended:
	case <-time.After(limit):
		t.Fatal("the work of the loop does not end")
	}
	r.Done, r.Wrong = l.done, l.wrong
	return r
}

// TestSoak is the run that make soak makes. make test has some seconds of it, in which
// nothing may fail, and no line is asked; everything has to be done as often as in that time,
// however long it takes.
func TestSoak(t *testing.T) {
	if *lasting == 0 {
		const least = 3 * time.Second
		r := soak(t, least, func(done map[string]uint64) bool {
			for kind, n := range perSecond {
				if kind != "kills" && float64(done[kind]) < n*least.Seconds() {
					return false
				}
			}
			return true
		})
		r.Done["kills"]++ // the first one takes most of it
		_, breaches := judge(r, "hub")
		for _, b := range breaches {
			if strings.Contains(b, "too little") || strings.Contains(b, "failed") {
				t.Error(b)
			}
		}
		if len(r.Looks) == 0 {
			t.Error("nothing was looked at")
		}
		return
	}
	r := soak(t, *lasting, func(map[string]uint64) bool { return true })
	table, breaches := judge(r, "hub")
	fmt.Printf("\n%s\n", head)
	for _, row := range table {
		fmt.Println(row)
	}
	fmt.Printf("\nin %v, of which %v are not looked at:", r.Lasted, r.Warm)
	for _, kind := range sorted(r.Done) {
		fmt.Printf(" %d %s;", r.Done[kind], kind)
	}
	fmt.Println()
	for _, b := range breaches {
		t.Error(b)
	}
}

// certificate is one for the loopback address, and who trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plan := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(*lasting + 24*time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(crand.Reader, plan, plan, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}
