package nodecmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

func TestKeysAreMadeChangedAndTakenBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	steps := []struct {
		args string
		code int
		says string
	}{
		{"keys init DIR --cluster shop --voter n1=10.0.0.1,n1.lan --node n2", exitOK, "copy DIR/nodes/n1 to the machine of n1"},
		{"keys init DIR", exitRefused, "has an authority"},
		{"keys init DIR", exitRefused, "(LM1809)"},
		{"keys init DIR/2 --voter a --voter b", exitUsage, "2 nodes are voters: use 1, 3 or 5"},
		{"keys init DIR/2 --voter a --voter b", exitUsage, "(LM1807)"},
		{"keys init DIR/4 --voter a --voter b --voter c --voter d", exitUsage, "use 1, 3 or 5"},
		{"keys init /proc/none", exitFailed, "(LM1811)"},
		{"keys add DIR n3 --allow call:math.* --allow admin", exitOK, "nodes/n3"},
		{"keys add DIR n3", exitRefused, "keys rotate"},
		{"keys add DIR n4 --allow fly", exitUsage, "no right"},
		{"keys add DIR n4 --valid -1h", exitUsage, "positive"},
		{"keys add DIR a.b", exitUsage, "letters"},
		{"keys rotate DIR n2", exitOK, "keys revoke DIR n2 --old"},
		{"keys rotate DIR n9", exitNotFound, "n1, n2, n3"},
		{"keys rotate DIR n9", exitNotFound, "(LM1808)"},
		{"keys revoke DIR n2 --old", exitOK, "revoked keys of n2: 1"},
		{"keys revoke DIR n3", exitOK, "account.jwt"},
		{"keys revoke DIR n3", exitNotFound, "not of \"n3\""},
		{"keys ls DIR/nowhere", exitNotFound, "keys init"},
		{"keys ls DIR -o name", exitOK, "n1\nn2\nn3\n"},
	}
	for _, s := range steps {
		got := loopmesh(strings.Fields(strings.ReplaceAll(s.args, "DIR", dir))...)
		if want := strings.ReplaceAll(s.says, "DIR", dir); got.code != s.code || !strings.Contains(got.out+got.errs, want) {
			t.Errorf("%s: %+v", s.args, got)
		}
	}
	got := loopmesh("keys", "ls", dir, "-o", "json")
	var list admin.List[keys.Issued]
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || len(list.Items) != 3 {
		t.Fatal(err, got)
	}
	if n := list.Items[2]; n.Name != "n3" || !n.Revoked || n.Keys != 0 {
		t.Errorf("%+v", n)
	}
	if n := list.Items[0]; !n.Voter || len(n.Hosts) != 2 || n.Keys != 1 {
		t.Errorf("%+v", n)
	}
}

func TestWhatStartRefusesAboutItsServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if s := loopmesh("keys", "init", dir, "--cluster", "shop", "--node", "n2"); s.code != exitOK {
		t.Fatal(s)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--listen 0.0.0.0:0", exitConfig, "--insecure"},
		{"--voter --routes a:1,b:2", exitConfig, "use 1, 3 or 5"},
		{"--routes a:1,b:2,c:3", exitConfig, "Voter is not set"},
		{"--keys " + dir + " --name n9", exitConfig, "keys of n2"},
		{"--keys " + dir + "/nodes/n2 --name n9", exitConfig, "keys of node n2"},
		{"--keys " + dir + "/nodes/n2 --cluster bank", exitConfig, "--cluster"},
		{"--keys " + dir + "/nodes/n2 --insecure", exitConfig, "remove one"},
		{"--keys " + dir + "/nodes/n2 --voter --routes 127.0.0.1:1,127.0.0.1:2,127.0.0.1:3 --route-listen 127.0.0.1:1", exitConfig, "not those of a voter"},
		{"--allow fly", exitConfig, "no right"},
		{"--user u", exitConfig, "external NATS"},
		{"--nats-url x --user u --password-file /nowhere", exitUsage, "--password-file"},
		{"--nats-url x --tls-ca " + empty, exitUsage, "no certificate"},
		{"--nats-url x --tls-cert " + empty, exitUsage, "go together"},
		{"--nats-url x --tls-cert " + empty + " --tls-key " + empty, exitUsage, "--tls-cert"},
	} {
		if s := loopmesh(append([]string{"start", "--loops", "0"}, strings.Fields(c.args)...)...); s.code != c.code || !strings.Contains(s.errs, c.says) {
			t.Errorf("%s: %+v", c.args, s)
		}
	}
}
