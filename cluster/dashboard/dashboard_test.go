package dashboard

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func get(t *testing.T, url string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	return w
}

func TestVendoredFilesAreThoseOfTheirPackages(t *testing.T) {
	list, err := fs.ReadFile(files, "files/vendor/checksums.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		sum, name, _ := strings.Cut(line, "  ")
		want[name] = sum
	}
	entries, err := fs.ReadDir(files, "files/vendor")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, e := range entries {
		if e.Name() == "checksums.txt" || e.Name() == "README.md" {
			continue
		}
		text, err := fs.ReadFile(files, "files/vendor/"+e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(text)); got != want[e.Name()] {
			t.Errorf("%s has the checksum %s, checksums.txt says %q", e.Name(), got, want[e.Name()])
		}
		checked++
	}
	if checked != len(want) || checked < 6 {
		t.Errorf("%d files were checked, checksums.txt has %d", checked, len(want))
	}
}

var (
	reference = regexp.MustCompile(`(?:src|href)="([^"#][^"]*)"`)
	imported  = regexp.MustCompile(`(?m)^(?:import|export)[^;]*? from "(\./[^"]+)"`)
	worker    = regexp.MustCompile(`new SharedWorker\("([^"]+)"`)
	inline    = regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:`)
	remote    = regexp.MustCompile(`(?i)["'(](?:https?:)?//[a-z]`)
)

// TestNothingIsMissingAndNothingComesFromElsewhere: every file that the document or a script
// refers to is served with a type that browsers accept, every script is referred to, and
// none of ours loads from elsewhere or is inline.
func TestNothingIsMissingAndNothingComesFromElsewhere(t *testing.T) {
	page := get(t, "/")
	if page.Code != http.StatusOK || !strings.Contains(page.Body.String(), "<title>") {
		t.Fatalf("%d %s", page.Code, page.Body)
	}
	used, queue := map[string]bool{}, []string{}
	for _, m := range reference.FindAllStringSubmatch(page.Body.String(), -1) {
		queue = append(queue, m[1])
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if used[at] {
			continue
		}
		used[at] = true
		w := get(t, at)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != types[path.Ext(at)] {
			t.Errorf("%s: %d %s", at, w.Code, w.Header().Get("Content-Type"))
		}
		for _, m := range imported.FindAllStringSubmatch(w.Body.String(), -1) {
			queue = append(queue, path.Join(path.Dir(at), m[1]))
		}
		for _, m := range worker.FindAllStringSubmatch(w.Body.String(), -1) {
			queue = append(queue, m[1])
		}
	}
	err := fs.WalkDir(files, "files", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if path.Ext(name) == ".js" && !used[Prefix+strings.TrimPrefix(name, "files/")] {
			t.Errorf("nobody uses %s", name)
		}
		text, err := fs.ReadFile(files, name)
		if strings.Contains(name, "/vendor/") || err != nil {
			return err
		}
		if found := inline.Find(text); found != nil && path.Ext(name) == ".html" {
			t.Errorf("%s has something inline: %q", name, found)
		}
		if found := remote.FindString(strings.ReplaceAll(string(text), "http://www.w3.org/", "")); found != "" {
			t.Errorf("%s speaks of another site: %q", name, found)
		}
		return nil
	})
	if err != nil || len(used) < 5 {
		t.Errorf("%v: only %d files are used", err, len(used))
	}
}

func TestHeaders(t *testing.T) {
	for _, at := range []string{"/", "/ui/main.js", "/ui/app.css"} {
		h := get(t, at).Header()
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q lacks %s", at, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", at, h)
		}
	}
}

func TestWhatIsNoFileOfThePageIsNotServed(t *testing.T) {
	for _, at := range []string{"/ui/", "/ui/vendor", "/ui/vendor/", "/ui/../dashboard.go", "/ui/vendor/checksums.txt", "/ui/vendor/LICENSE-htm", "/ui/nothing.js", "/ui//etc/passwd"} {
		if w := get(t, at); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", at, w.Code)
		}
	}
}
