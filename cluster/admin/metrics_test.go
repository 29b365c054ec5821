package admin

import (
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// scrape gives the metrics of a server as text.
func scrape(t *testing.T, s *Server) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	s := busyPair(t)
	eventually(t, "the event of the member is counted", func() bool {
		return strings.Contains(scrape(t, s), `loopmesh_events_total{code="LM4101",level="info"} 1`)
	})
	text := scrape(t, s)
	for _, want := range []string{
		`loopmesh_info{go="go`, "loopmesh_members 2", "loopmesh_loops 1", `loopmesh_loop_tasks{loop="admin"} 0`, `loopmesh_loop_blocked{loop="admin"} 0`,
		`loopmesh_loop_answer_seconds{loop="admin"} `, "go_goroutines ", "process_open_fds ", "loopmesh_nats_dropped_total 0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	t.Run("the page lists each with its help, and nothing else", func(t *testing.T) {
		var page strings.Builder
		page.WriteString("# Metrics\n\n`GET /metrics` of the admin API (`start --admin-listen 127.0.0.1:9464`) gives these, of the node that is asked, and those of Go and of the\nprocess (`go_*`, `process_*`). This page is made from `cluster/admin/metrics.go` (`go test ./cluster/admin -update`).\n\n| name | kind | labels | what |\n|---|---|---|---|\n")
		known := map[string]bool{}
		row := func(name, kind, labels, help string) {
			known[name] = true
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", name, kind, labels, help)
		}
		row("loopmesh_info", "gauge", "node, version, go", "1, with the versions as labels.")
		kinds := map[prometheus.ValueType]string{prometheus.CounterValue: "counter", prometheus.GaugeValue: "gauge"}
		for _, m := range nodeMetrics {
			row(m.name, kinds[m.kind], "", m.help)
		}
		for _, m := range processMetrics {
			row(m.name, kinds[m.kind], "", m.help)
		}
		for _, m := range loopMetrics {
			row(m.name, "gauge", "loop", m.help)
		}
		row("loopmesh_loop_blocked", "gauge", "loop", "1 while a callback of the loop does not return, else 0. Alert: should stay 0.")
		row("loopmesh_events_total", "counter", "code, level", "Events by their codes, see [errors.md](errors.md).")
		if *update {
			if err := os.WriteFile("../../docs/metrics.md", []byte(page.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile("../../docs/metrics.md")
		if err != nil || string(got) != page.String() {
			t.Errorf("docs/metrics.md is old (%v): go test ./cluster/admin -update", err)
		}
		for _, m := range regexp.MustCompile(`(?m)^# HELP (loopmesh_\S+)`).FindAllStringSubmatch(text, -1) {
			if !known[m[1]] {
				t.Errorf("%s is not in the page", m[1])
			}
			delete(known, m[1])
		}
		if len(known) > 0 {
			t.Errorf("not scraped: %v", known)
		}
	})
}
