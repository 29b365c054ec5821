//go:build foreign

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/dashboard"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestAKilledNodeIsShown(t *testing.T) {
	t.Parallel()
	w := found(t)
	p := open(t, "http://"+w.address+"/")
	p.until("three cards", `document.querySelectorAll(".card.ready .lane").length === 6`)
	w.Crash("n3")
	p.until("the card is dead, with the time it was seen", `/dead/.test(document.querySelector('.card.dead')?.innerText) && /last seen .* ago/.test(document.querySelector('.card.dead').innerText)`)
	p.until("the first line says so", `/n3 is dead, last seen/.test(document.querySelector(".health").innerText)`)
	p.show("nodes")
	p.until("the list says so", `[...document.querySelectorAll(".rows tr")].some((r) => r.cells[0]?.innerText === "n3" && r.cells[1].innerText === "dead" && /ago/.test(r.cells[2].innerText))`)
	w.Restart("n3")
	p.until("it is back", `[...document.querySelectorAll(".rows .badge")].filter((b) => b.innerText === "ready").length === 3`)
}

func TestACircleIsDrawn(t *testing.T) {
	t.Parallel()
	w := found(t)
	w.circle(t, "n2", "io-1", "alpha", "beta", "gamma")
	p := open(t, "http://"+w.address+"/")
	p.until("three red dots and three arcs", `document.querySelectorAll(".task.circle").length === 3 + 1 && document.querySelectorAll(".arc.circle").length === 3`)
	p.until("a sentence", `/3 tasks on n2\/io-1 wait for each other: (alpha → beta → gamma → alpha|beta → gamma → alpha → beta|gamma → alpha → beta → gamma)/.test(document.querySelector(".health").innerText)`)
}

// A blocked loop is named with the function in which it is.
func TestABlockedLoopIsShown(t *testing.T) {
	t.Parallel()
	w := found(t)
	release := make(chan struct{})
	w.task(t, "n2", "io-0", "stuck", func(context.Context) error { <-release; return nil })
	p := open(t, "http://"+w.address+"/")
	defer close(release)
	p.until("its lane is red", `/blocked/.test(document.querySelector(".lane.blocked")?.innerText)`)
	p.until("a sentence", `/n2\/io-0 is blocked for .* in /.test(document.querySelector(".health").innerText)`)
}

func TestTheBannerAndTheWayBack(t *testing.T) {
	t.Parallel()
	w := found(t)
	target := "http://" + w.address
	var mu sync.Mutex
	down := false
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		gone := down
		mu.Unlock()
		if gone {
			panic(http.ErrAbortHandler)
		}
		resp, err := http.DefaultTransport.RoundTrip(cloned(r, target))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			rw.Header()[k] = v
		}
		rw.WriteHeader(resp.StatusCode)
		buf := make([]byte, 64<<10)
		for {
			n, err := resp.Body.Read(buf)
			if n > 0 {
				if _, err := rw.Write(buf[:n]); err != nil {
					return
				}
				rw.(http.Flusher).Flush()
			}
			if err != nil {
				return
			}
		}
	}))
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	defer proxy.Close()
	set := func(v bool) { mu.Lock(); down = v; mu.Unlock(); proxy.CloseClientConnections() }
	p := open(t, proxy.URL+"/?page=nodes")
	p.allowed = append(p.allowed, "ERR_", "Failed to load resource")
	p.until("three nodes", `document.querySelectorAll(".rows tbody tr:not(.pad)").length === 3`)
	set(true)
	p.until("the banner says how old it is", `/Reconnecting.*What you see is .* old/.test(document.querySelector(".banner")?.innerText)`)
	p.until("what is old stays, and looks old", `document.querySelector(".body.old") && document.querySelectorAll(".rows tbody tr:not(.pad)").length === 3`)
	set(false)
	p.until("the banner goes", `!document.querySelector(".banner") && !document.querySelector(".body.old")`)
}

// cloned is a request for another host, with the Host header that the browser sent.
func cloned(r *http.Request, target string) *http.Request {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", strings.TrimPrefix(target, "http://"), ""
	return out
}

// stub serves the page with answers that the test makes up.
func stub(t *testing.T, answers map[string]any) string {
	t.Helper()
	page := dashboard.Handler()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/api/v1/")
		if !ok {
			page.ServeHTTP(w, r)
			return
		}
		answer, ok := answers[name]
		if !ok {
			answer = map[string]any{"items": []any{}}
		}
		if name == "events/stream" {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestTenThousandRows(t *testing.T) {
	t.Parallel()
	list := admin.List[admin.Task]{Kind: "TaskList", APIVersion: admin.APIVersion}
	for i := range 10000 {
		list.Items = append(list.Items, admin.Task{ID: fmt.Sprintf("n%d/io-0/tasks/%d", i%3, i), Node: fmt.Sprintf("n%d", i%3), Loop: "io-0", Name: fmt.Sprintf("session-%d", i), State: "waiting", AwaitedBy: []string{}})
	}
	url := stub(t, map[string]any{"tasks": list, "session": admin.Session{Node: "n1", MayChange: true}})
	p := open(t, url+"/?page=tasks")
	few := func(what string) {
		t.Helper()
		if n := js[int](p, `document.querySelectorAll("tr").length`); n < 10 || n >= 200 {
			t.Errorf("%s: %d rows in the document", what, n)
		}
	}
	p.until("they are there", `document.querySelector(".many")?.innerText === "10000"`)
	few("at the beginning")
	js[bool](p, `document.querySelector(".rows").scrollTop = 1e9, true`)
	p.until("the last one", `[...document.querySelectorAll(".rows tr")].some((r) => r.cells[1]?.innerText === "session-9999")`)
	few("at the end")
	js[bool](p, `document.querySelector(".rows").scrollTop = 160000, true`)
	p.until("the middle", `[...document.querySelectorAll(".rows tr")].some((r) => r.cells[1]?.innerText === "session-5000")`)
	few("in the middle")
	p.do(chromedp.SendKeys(chromedp.CSS("#filter"), "name:session-77 -node:n1"))
	p.until("the filter counts", `[...document.querySelectorAll(".rows tr")].slice(1).every((r) => !r.cells[1] || r.cells[1].innerText.startsWith("session-77")) && location.search.includes("session-77")`)
	few("filtered")
	p.show("tasks", "&sort=-name")
	p.until("sorted as people do", `document.querySelector(".rows tbody tr:not(.pad)")?.cells[1].innerText === "session-9999"`)
	p.do(chromedp.Focus(chromedp.CSS(".rows")), chromedp.KeyEvent("jjj\r"))
	p.until("the keys have opened the third row", `document.querySelector(".detail h2")?.innerText === "session-9997"`)
	if took := js[float64](p, `(() => { const b = performance.now(); document.querySelector(".rows").scrollTop = 80000; return performance.now() - b })()`); took > 500 {
		t.Errorf("scrolling takes %v ms", took)
	}
}

// hostile are names that a page which trusts them would run, or show as something else.
var hostile = []string{`<img src=x onerror="window.hit=1">`, `"><script>window.hit=1</script>`, "javascript:window.hit=1", "\u202eevil\u0000\u001b[2J", "'+window.hit+'", "</svg><script>window.hit=1</script>"}

func TestHostileNamesAreText(t *testing.T) {
	t.Parallel()
	w := found(t)
	for _, name := range hostile {
		w.task(t, "n1", "io-1", name, func(ctx context.Context) error {
			loopnode.Go(ctx, name+"!", forever)
			return forever(ctx)
		})
	}
	w.circle(t, "n1", "io-0", hostile[0], hostile[1], hostile[5])
	p := open(t, w.admin["n1"].Ticket())
	p.until("the map shows them", `document.querySelectorAll(".task.circle").length >= 3 && document.querySelector(".health").innerText.includes("<img")`)
	p.show("tasks")
	p.until("the list shows them", `[...document.querySelectorAll(".rows tr")].some((r) => r.cells[1]?.innerText === $1)`, hostile[0])
	p.until("what turns the direction is replaced", `[...document.querySelectorAll(".rows tr")].some((r) => r.cells[1]?.innerText === "\ufffdevil\ufffd\ufffd[2J")`)
	js[bool](p, `[...document.querySelectorAll(".rows tr")].find((r) => r.cells[1]?.innerText === $1).click(), true`, hostile[1])
	p.until("the details show them", `document.querySelector(".detail h2")?.innerText === $1`, hostile[1])
	p.press("cancel " + js[string](p, `document.querySelector(".rows tr.open").dataset.key`))
	p.until("the question shows them", `document.querySelector("dialog[open] h2")?.innerText.includes("<script>")`)
	if js[bool](p, `"hit" in window || !!document.querySelector("main img, main script, dialog script")`) {
		t.Error("a name became a part of the page")
	}
	p.allowed = append(p.allowed, "400")
	p.show("%3Cimg%20src=x%20onerror=window.hit=1%3E", "&filter=%3Cscript%3Ewindow.hit=1%3C/script%3E&id=%22%3E")
	p.until("the address is no way in either", `document.querySelector("h1")?.innerText === "Map" && !("hit" in window)`)
}

// A page of another site, and one whose name points here, get nothing and change nothing.
func TestOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	w := found(t)
	c := w.client(t, "n1")
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>evil</title>")
	}))
	defer evil.Close()
	p := open(t, w.admin["n1"].Ticket())
	p.until("the browser has a session", `document.getElementById("mode")?.innerText === "may change things"`)
	p.show("conns")
	id := p.connOf(c)
	p.allowed = append(p.allowed, "CORS", "ERR_", "403", "401", "Failed to load", "frame-ancestors")
	p.do(chromedp.Navigate(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)))
	for _, try := range []string{
		`fetch($1 + "/api/v1/conns/close?id=" + $2, { method: "POST", credentials: "include" })`,
		`fetch($1 + "/api/v1/conns/close?id=" + $2, { method: "POST", mode: "no-cors", credentials: "include" }).then(() => new Promise((_, no) => setTimeout(no, 300)))`,
		`fetch($1 + "/api/v1/nodes", { credentials: "include" })`,
	} {
		if js[bool](p, try+".then(() => true, () => false)", "http://"+w.address, id) {
			t.Errorf("a page of another site can read: %s", try)
		}
	}
	js[bool](p, `(() => { const f = document.createElement("iframe"); f.src = $1; document.body.append(f); return true })()`, "http://"+w.address+"/")
	if _, err := c.Write([]byte("still here\n")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 11)
	if _, err := c.Read(buf); err != nil {
		t.Error("the connection was closed by a page of another site:", err)
	}
	// A name of somebody else that points here: the browser takes it for one site with ours.
	_, port, _ := strings.Cut(w.address, ":")
	q := open(t, "http://rebound.example:"+port+"/")
	q.allowed = append(q.allowed, "401", "favicon")
	if text := q.text("body"); !strings.Contains(text, "is not this machine") || strings.Contains(text, "Map") {
		t.Errorf("a name that points here shows: %s", text)
	}
}

// axe is the checker of accessibility; npm installs it beside this file.
func axe(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join("node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEverybodyCanUseIt(t *testing.T) {
	t.Parallel()
	script := axe(t)
	w := found(t)
	w.client(t, "n2")
	w.circle(t, "n3", "io-1", "a", "b")
	p := open(t, w.admin["n1"].Ticket())
	p.until("the page is signed in", `document.getElementById("mode")?.innerText === "may change things"`)
	check := func(what string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			p.scheme(scheme)
			found := js[[]string](p, `axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message || "")).join(" | ")))`)
			for _, f := range found {
				t.Errorf("%s, %s: %s", what, scheme, f)
			}
		}
	}
	inject := func() { js[bool](p, script+"; true") }
	p.until("the map is there", `document.querySelectorAll(".task.circle").length > 0 && document.querySelector(".peers circle")`)
	inject()
	check("map")
	for _, name := range []string{"nodes", "loops", "tasks", "conns", "events"} {
		p.show(name)
		p.until("rows", `document.querySelectorAll(".rows tbody tr").length > 0`)
		inject()
		if name == "tasks" {
			js[bool](p, `document.querySelector(".rows tbody tr").click(), true`)
			p.until("details", `document.querySelector(".detail")`)
		}
		check(name)
		if name == "tasks" {
			p.press("cancel " + js[string](p, `document.querySelector(".rows tr.open").dataset.key`))
			p.until("a question", `document.querySelector("dialog[open]")`)
			check("question")
		}
	}
}
