//go:build foreign

package browser

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// counting passes requests on to the node, and counts the streams of events that are open.
func counting(t *testing.T, address string) (at string, most *atomic.Int64) {
	t.Helper()
	var streams atomic.Int64
	most = &atomic.Int64{}
	through := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	through.FlushInterval = -1
	through.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	own := &http.Transport{}
	through.Transport = own
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events/stream") {
			now := streams.Add(1)
			defer streams.Add(-1)
			for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
			}
		}
		through.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		own.CloseIdleConnections()
	})
	return s.URL, most
}

// seen has the page look as a window that stands beside the others: of the tabs of one
// window only one is seen, and a page that nobody sees asks nothing.
func (p *page) seen() {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		p.t.Fatal(err)
	}
}

// A browser opens six connections to one host. Eight tabs, all of them seen, get their
// answers, because they share one stream; and each of them has the events.
func TestManyTabsShareOneStream(t *testing.T) {
	t.Parallel()
	w := found(t)
	at, most := counting(t, w.address)
	first := open(t, at+"/?page=nodes")
	first.seen()
	tabs := []*page{first}
	for range 7 {
		ctx, end := chromedp.NewContext(first.ctx)
		p := &page{t: t, ctx: ctx}
		t.Cleanup(func() { _ = chromedp.Cancel(ctx); end() })
		p.seen()
		p.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(at+"/?page=nodes"))
		tabs = append(tabs, p)
	}
	for _, p := range tabs {
		p.until("three nodes", `document.querySelectorAll(".rows tbody tr:not(.pad)").length === 3`)
	}
	for _, p := range []*page{tabs[0], tabs[7]} {
		p.show("events")
		p.until("events of before", `document.querySelectorAll(".rows tbody tr:not(.pad)").length > 2`)
	}
	w.Crash("n3")
	for _, p := range []*page{tabs[0], tabs[7]} {
		p.until("the event comes by the stream", `/LM4104/.test(document.body.innerText)`)
	}
	if most.Load() != 1 {
		t.Errorf("%d streams at a time", most.Load())
	}
}

// A node that was told to leave is drawn so that it is seen, and is well again when that was
// taken back.
func TestADrainIsDrawn(t *testing.T) {
	t.Parallel()
	w := found(t)
	p := open(t, w.admin["n1"].Ticket())
	p.until("the page is signed in", `document.getElementById("mode")?.innerText === "may change things"`)
	ask := `fetch("/api/v1/nodes/" + $1, { method: "POST" }).then((r) => r.ok)`
	if !js[bool](p, ask, "drain?id=n2&notice=10m") {
		t.Fatal("the drain was refused")
	}
	p.until("its card says so", `/draining/.test(document.querySelector(".card.draining")?.innerText) && /n2 is being drained/.test(document.querySelector(".health").innerText)`)
	p.show("nodes")
	p.until("the list says so", `[...document.querySelectorAll(".rows .badge.warn")].some((b) => b.innerText === "draining")`)
	if !js[bool](p, ask, "resume?id=n2") {
		t.Fatal("it could not be taken back")
	}
	p.until("it is ready again", `[...document.querySelectorAll(".rows .badge")].filter((b) => b.innerText === "ready").length === 3`)
}
