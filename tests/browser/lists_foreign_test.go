//go:build foreign

package browser

import (
	"slices"
	"strings"
	"testing"
)

func TestTheListsFill(t *testing.T) {
	t.Parallel()
	w := found(t)
	p := open(t, w.admin["n1"].Ticket())
	p.until("the page is signed in", `document.getElementById("mode")?.innerText === "may change things"`)
	if at := js[string](p, "location.href"); strings.Contains(at, "#") {
		t.Errorf("the ticket stays in the address: %s", at)
	}
	p.show("nodes")
	p.until("three nodes are ready", `[...document.querySelectorAll(".rows .badge")].filter((b) => b.innerText === "ready").length === 3`)
	if got := p.rows(0); !slices.Equal(got, []string{"n1", "n2", "n3"}) {
		t.Errorf("%v", got)
	}
}
