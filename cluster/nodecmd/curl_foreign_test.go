//go:build foreign

package nodecmd

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// TestCurl asks the admin API without this program.
func TestCurl(t *testing.T) {
	village(t)
	curl := func(path string, args ...string) string {
		t.Helper()
		args = append(args, "-s", "--max-time", "20", "--unix-socket", admin.Path("n2"), "http://loopmesh/api/v1/"+path)
		out, err := exec.Command("curl", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	var nodes admin.List[admin.Node]
	if err := json.Unmarshal([]byte(curl("nodes")), &nodes); err != nil || len(nodes.Items) != 3 || !nodes.Items[1].Self {
		t.Errorf("%v: %+v", err, nodes)
	}
	for _, c := range []struct {
		path string
		args []string
		want string
	}{
		{"call", []string{"-d", `{"function":"demo.add","on":"n3/io-0","payload":[1,2]}`}, `"result":3`},
		{"call", []string{"-d", `{"function":"demo.add","on":"n7/io-0"}`}, `"kind":"not_found"`},
		{"call?timeout=soon", []string{"-d", `{}`}, `"kind":"bad_request"`},
		{"nonsense", nil, `"kind":"not_found"`},
		{"nodes", []string{"-w", "%{http_code} %{content_type}"}, "200 application/json"},
		{"call", []string{"-w", "%{http_code}", "-d", `{"function":"demo.sleep","on":"n3/io-0","payload":"x"}`}, "500"},
	} {
		if got := curl(c.path, c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%s %q: %s", c.path, c.args, got)
		}
	}
}
