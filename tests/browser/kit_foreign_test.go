//go:build foreign

package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: tests{m}}) }

// tests ends the browser before leaks are looked for.
type tests struct{ *testing.M }

func (m tests) Run() int {
	code := m.M.Run()
	if browser.end != nil {
		browser.end()
	}
	return code
}

// browser is the one of all tests: each page is in a context of its own, with its own
// cookies. A name of somebody else points to this machine, for one of the tests.
var browser struct {
	once sync.Once
	ctx  context.Context
	err  error
	end  func()
}

func startBrowser() {
	dir, err := os.MkdirTemp("", "loopmesh-browser")
	if err != nil {
		browser.err = err
		return
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.UserDataDir(dir), chromedp.WindowSize(1440, 900),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en-GB"),
		chromedp.Flag("host-resolver-rules", "MAP rebound.example 127.0.0.1"), chromedp.Flag("disable-features", "HttpsUpgrades,HttpsFirstBalancedModeAutoEnable"),
	)
	alloc, endAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, endTab := chromedp.NewContext(alloc)
	browser.ctx = ctx
	browser.err = chromedp.Do(ctx)
	browser.end = func() {
		_ = chromedp.Cancel(ctx)
		endTab()
		endAlloc()
		_ = os.RemoveAll(dir)
	}
}

// patience bounds each wait.
const patience = 20 * time.Second

// page is a tab of a browser. What the page writes to its console as a warning or an
// error, what it throws and what its policy refuses fails the test at its end.
type page struct {
	t       *testing.T
	ctx     context.Context
	mu      sync.Mutex
	said    []string
	allowed []string // parts of messages that the test expects
}

// open makes a page that has no cookies yet, and goes to url.
func open(t *testing.T, url string) *page {
	t.Helper()
	browser.once.Do(startBrowser)
	if browser.err != nil {
		t.Fatal("the browser does not start:", browser.err)
	}
	ctx, endTab := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	p := &page{t: t, ctx: ctx}
	console := chromedp.Console(ctx)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for m, err := range console {
			if err != nil {
				return
			}
			if m.Type != "log" && m.Type != "debug" && m.Type != "info" {
				p.mu.Lock()
				p.said = append(p.said, m.String()+" "+m.URL)
				p.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		endTab()
		<-heard
		for _, text := range p.said {
			expected := false
			for _, part := range p.allowed {
				expected = expected || strings.Contains(text, part)
			}
			if !expected {
				t.Errorf("the page said: %s", text)
			}
		}
	})
	p.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(url))
	return p
}

// sub runs a subtest on the same page.
func (p *page) sub(name string, fn func(t *testing.T)) {
	outer := p.t
	outer.Run(name, func(t *testing.T) {
		p.t = t
		defer func() { p.t = outer }()
		fn(t)
	})
}

func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%v\nthe page shows: %s", err, p.text("body"))
	}
}

// js evaluates an expression in the page.
func js[T any](p *page, expression string, args ...any) (v T) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](filled(p.t, expression, args), chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// filled puts the arguments in the places of $1, $2 and so on.
func filled(t *testing.T, expression string, args []any) string {
	t.Helper()
	for i, a := range args {
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		expression = strings.ReplaceAll(expression, fmt.Sprintf("$%d", i+1), string(text))
	}
	return expression
}

// text is what can be read in an element.
func (p *page) text(selector string) string {
	return js[string](p, `document.querySelector($1)?.innerText || ""`, selector)
}

// until waits until an expression is true in the page, which looks at it 20 times a second.
func (p *page) until(what, expression string, args ...any) {
	p.t.Helper()
	look := "new Promise((done) => { let n = 0; const look = () => { try { if (" + expression + ") return done(true) } catch {}; n++ < " +
		fmt.Sprint(int(patience.Seconds())*20) + " ? setTimeout(look, 50) : done(false) }; look() })"
	ctx, cancel := context.WithTimeout(p.ctx, 2*patience)
	defer cancel()
	if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](filled(p.t, look, args), chromedp.EvalAwaitPromise)); err != nil || !ok {
		p.t.Fatalf("%s: not within %v (%v)\nthe page shows: %s", what, patience, err, p.text("body"))
	}
}

// show goes to a page by its name, with a filter.
func (p *page) show(name string, more ...string) {
	p.t.Helper()
	query := "?page=" + name + strings.Join(more, "")
	p.do(chromedp.Navigate(js[string](p, "location.origin") + "/" + query))
}

// press clicks the button with this accessible name, as a person does.
func (p *page) press(name string) {
	p.t.Helper()
	find := `[...document.querySelectorAll("button")].find((b) => (b.getAttribute("aria-label") || b.innerText).trim() === $1 && !b.closest("dialog:not([open])"))`
	p.until("a button "+name, find, name)
	js[bool](p, find+".click(), true", name)
}

// rows are the texts of a column of the rows that are in the document.
func (p *page) rows(column int) []string {
	return js[[]string](p, fmt.Sprintf(`[...document.querySelectorAll(".rows tbody tr:not(.pad)")].map((r) => r.cells[%d].innerText)`, column))
}

// scheme makes the browser prefer light or dark.
func (p *page) scheme(name string) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}}); err != nil {
		p.t.Fatal(err)
	}
}

// maxShot bounds a picture in docs/.
const maxShot = 300 << 10

// shot writes what can be seen to a file.
func (p *page) shot(file string) {
	p.t.Helper()
	taken, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(taken))
	if err != nil {
		p.t.Fatal(err)
	}
	var small bytes.Buffer // a browser writes quickly, not small
	if err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, picture); err == nil {
		err = os.WriteFile(filepath.Clean(file), small.Bytes(), 0o644)
	}
	if err != nil || small.Len() > maxShot {
		p.t.Fatalf("%s: %d bytes, %d at most: %v", file, small.Len(), maxShot, err)
	}
}
