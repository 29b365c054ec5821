package prove

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// report judges the histories of a run and prints the table.
func report(t *testing.T, all []history.Event, injected []fault, without string, kinds []history.Kind, least map[history.Op]int) {
	t.Helper()
	var table []string
	judge := func(promise string, r history.Result) {
		for _, b := range r.Breaches {
			t.Errorf("%s: %s", promise, b)
		}
		if r.Ops == 0 {
			t.Errorf("%s: nothing was judged", promise)
		}
		table = append(table, line(promise, len(injected), r, *seed))
	}
	for _, row := range rows {
		judge(row.promise, row.check(all))
	}
	judge(enoughRow, history.Enough(all, kinds, least))
	count := map[string]int{}
	for _, f := range injected {
		count[string(f.kind)]++
	}
	var what []string
	for _, k := range slices.Sorted(maps.Keys(count)) {
		what = append(what, fmt.Sprintf("%d %s", count[k], k))
	}
	fmt.Printf("\n%s\n%s\n\nfaults: %s\n", head, strings.Join(table, "\n"), strings.Join(what, ", "))
	if without != "" {
		fmt.Println("not injected:", without)
	}
}
