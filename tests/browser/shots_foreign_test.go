//go:build foreign

package browser

import (
	"context"
	"flag"
	"fmt"
	"math/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

var shots = flag.String("screenshots", "", "write the screenshots of the documents into this folder")

// Functions that the town calls for its picture.
var (
	price = cluster.Func("shop.price", func(ctx context.Context, _ int) (int, error) {
		return 1, loopnode.Sleep(ctx, time.Duration(rand.Intn(1500))*time.Microsecond)
	})
	report = cluster.Func("shop.report", func(ctx context.Context, _ int) (int, error) { return 1, loopnode.Sleep(ctx, 6*time.Second) })
	gossip = cluster.Func("shop.news", func(context.Context, int) (int, error) { return 1, nil })
)

// busy makes a town lively: clients, calls, messages, connections between nodes, a late
// loop, tasks that wait, and three that wait for each other.
func (w *town) busy(t *testing.T) {
	t.Helper()
	for i, node := range []string{"n1", "n1", "n1", "n1", "n1", "n1", "n1", "n2", "n2", "n2", "n2", "n3", "n3", "n3", "n3", "n3", "n3", "n3", "n3", "n3", "n3", "n3"} {
		c := w.client(t, node)
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			tick := time.NewTicker(time.Duration(60+7*i) * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					_ = c.SetDeadline(time.Now().Add(time.Minute))
					if _, err := fmt.Fprintf(c, "line %d\n", i); err != nil {
						return
					}
				}
			}
		}()
		t.Cleanup(func() { close(stop); <-ended })
	}
	calls := func(from, loop, to string, every time.Duration, f *cluster.Function[int, int], each bool) {
		w.task(t, from, loop, "caller", func(ctx context.Context) error {
			ref, err := w.Node(from).Ref(to)
			for err == nil {
				if each {
					_, err = f.Via(w.Node(from)).Call(ctx, ref, 1)
				} else {
					err = f.Via(w.Node(from)).CallSoon(ctx, ref, 1)
				}
				if err == nil {
					err = loopnode.Sleep(ctx, every)
				}
			}
			return err
		})
	}
	calls("n1", "io-0", "n2/io-1", 4*time.Millisecond, price, true)
	calls("n1", "io-0", "n2/io-1", 7*time.Millisecond, price, true)
	calls("n2", "io-1", "n1/io-1", 60*time.Millisecond, price, true)
	calls("n3", "io-1", "n2/io-0", 20*time.Millisecond, price, true)
	calls("n3", "io-0", "n1/io-1", 100*time.Millisecond, report, true)
	calls("n1", "io-1", "n3/io-0", 3*time.Millisecond, gossip, false)
	w.task(t, "n2", "io-1", "late", func(ctx context.Context) error { // one loop that is not always on time
		for n := 0; ; n++ {
			d := time.Duration(rand.Intn(3)) * time.Millisecond
			if n%14 > 9 {
				d = time.Duration(15+rand.Intn(45)) * time.Millisecond
			}
			for end := time.Now().Add(d); time.Now().Before(end); {
				continue
			}
			if err := loopnode.Sleep(ctx, 70*time.Millisecond); err != nil {
				return err
			}
		}
	})
	for range 3 {
		w.task(t, "n2", "io-0", "replica", func(ctx context.Context) error {
			s, err := transportactors.OpenConnection(ctx, "tcp", w.servers["n3"])
			for err == nil {
				if _, err = s.Write(make([]byte, 3000)); err == nil {
					_, err = s.Read(make([]byte, 8192))
				}
				if err == nil {
					err = loopnode.Sleep(ctx, 50*time.Millisecond)
				}
			}
			return err
		})
	}
	w.circle(t, "n3", "io-1", "order", "stock", "invoice")
	w.task(t, "n1", "io-1", "collect", func(ctx context.Context) error {
		var all []loopnode.Awaitable[struct{}]
		for range 5 {
			all = append(all, loopnode.Go(ctx, "fetch", forever))
		}
		_, err := loopnode.Gather(ctx, all...)
		return err
	})
	w.task(t, "n3", "io-0", "child", func(ctx context.Context) error {
		_, err := subprocess.ExecProcess(ctx, []string{"sleep", "600"})
		if err == nil {
			err = forever(ctx)
		}
		return err
	})
}

// circle makes tasks that wait for each other, each for the next one.
func (w *town) circle(t *testing.T, node, loop string, names ...string) {
	t.Helper()
	tasks := make([]*loopnode.Task[struct{}], len(names))
	w.task(t, node, loop, "start", func(ctx context.Context) error {
		for i, name := range names {
			tasks[i] = loopnode.Go(ctx, name, func(ctx context.Context) error {
				if err := loopnode.Sleep(ctx, time.Millisecond); err != nil { // all of them are there
					return err
				}
				_, err := tasks[(i+1)%len(tasks)].Await(ctx)
				return err
			})
		}
		return forever(ctx)
	})
}

// TestScreenshots writes the pictures of the documents. It runs with -screenshots only;
// what it shows is checked by the other tests.
func TestScreenshots(t *testing.T) {
	if *shots == "" {
		t.Log("no -screenshots FOLDER: nothing to write")
		return
	}
	w := found(t)
	w.busy(t)
	p := open(t, w.admin["n1"].Ticket())
	p.do(chromedp.EmulateViewport(1360, 850))
	p.until("the page is signed in", `document.getElementById("mode")?.innerText === "may change things"`)
	wait := func(seconds int) {
		for range seconds {
			js[bool](p, "new Promise((r) => setTimeout(() => r(true), 1000))")
		}
	}
	wait(*shotsWait)
	for _, scheme := range []string{"dark", "light"} {
		p.scheme(scheme)
		wait(3)
		p.shot(filepath.Join(*shots, "dashboard-map-"+scheme+".png"))
	}
	p.show("tasks", "&sort=-waits_us")
	p.until("tasks are listed", `document.querySelectorAll(".rows tbody tr").length > 10`)
	js[bool](p, `[...document.querySelectorAll(".rows tr")].find((r) => r.cells[1]?.innerText === "order").click(), true`)
	p.until("the whole stack is shown", `document.querySelectorAll(".stack li").length > 1`)
	wait(2)
	for _, scheme := range []string{"light", "dark"} {
		p.scheme(scheme)
		wait(1)
		p.shot(filepath.Join(*shots, "dashboard-tasks-"+scheme+".png"))
	}
}

var shotsWait = flag.Int("screenshots-wait", 45, "seconds to look before the first screenshot, so that there is a past")
