package deploy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/loopmesh/loopmesh/cluster/nodecmd"
	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

const patience = 30 * time.Second

// deployed is the text of a file in deploy/.
func deployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// loopmesh runs the program to its end.
func loopmesh(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = nodecmd.Run(context.Background(), args, &o, &e)
	return code, o.String(), e.String()
}

// unit is the service's unit, each key with its values in order.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for line := range strings.Lines(deployed(t, "systemd/loopmesh.service")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			out[key] = append(out[key], value)
		}
	}
	return out
}

// running is a node that runs in this process: where its admin port is, and its exit code.
type running struct {
	admin string
	ended chan int
	stop  func()
}

// begin starts the program with a command line, as a service or a container would.
func begin(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	n := &running{ended: make(chan int, 1), stop: cancel}
	var errs bytes.Buffer
	go func() {
		code := nodecmd.Run(ctx, args, w, &errs)
		_ = w.Close()
		n.ended <- code
	}()
	at, in := regexp.MustCompile(`admin +(http://\S+)`), bufio.NewScanner(r)
	for in.Scan() {
		if m := at.FindStringSubmatch(in.Text()); m != nil {
			n.admin = m[1]
		}
		if strings.Contains(in.Text(), "Ctrl-C") {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return n
		}
	}
	cancel()
	t.Fatalf("%q ended with %d: %s", args, <-n.ended, errs.String())
	return nil
}

// end waits for the node, which something else has to end.
func (n *running) end(t *testing.T) {
	t.Helper()
	defer n.stop()
	select {
	case code := <-n.ended:
		if code != 0 {
			t.Errorf("the node ended with %d", code)
		}
	case <-time.After(patience):
		t.Error("the node did not end")
	}
}

// configuration is deploy/systemd/node.yaml for this machine: the paths and ports of a real
// one are replaced, what it says stays.
func configuration(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	text := deployed(t, "systemd/node.yaml")
	for from, to := range map[string]string{"/var/lib/loopmesh/store": filepath.Join(dir, "store"), "127.0.0.1:4222": "127.0.0.1:0"} {
		if !strings.Contains(text, from) {
			t.Fatalf("node.yaml has no %s any more", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	path := filepath.Join(dir, "node.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// command is the command line of a unit without its program, with another configuration.
func command(t *testing.T, line, config string) []string {
	t.Helper()
	rest, ok := strings.CutPrefix(strings.TrimPrefix(line, "-"), "/usr/bin/loopmesh ")
	if !ok {
		t.Fatalf("%q does not call the program of the package", line)
	}
	return strings.Fields(strings.ReplaceAll(rest, "/etc/loopmesh/node.yaml", config))
}

// TestTheUnit runs the commands of the unit in their order: what comes before the start, the
// start, and the stop, which drains the node. The socket is found by the unit's variable.
func TestTheUnit(t *testing.T) {
	u, config := unit(t), configuration(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	name, socket, _ := strings.Cut(u["Environment"][0], "=")
	if name != "LOOPMESH_SOCKET" || filepath.Dir(socket) != "/run/"+u["RuntimeDirectory"][0] {
		t.Fatalf("the socket %q is not in the folder that the unit makes", u["Environment"])
	}
	t.Setenv(name, filepath.Join(t.TempDir(), "admin.sock"))
	if code, out, errs := loopmesh(command(t, u["ExecStartPre"][0], config)...); code != 0 {
		t.Fatalf("ExecStartPre: %d %s%s", code, out, errs)
	}
	n := begin(t, append(command(t, u["ExecStart"][0], config), "--name", "n1")...)
	if code, out, errs := loopmesh(command(t, u["ExecReload"][0], config)...); code != 0 || out != "n1 has read its configuration: nothing is new\n" {
		t.Errorf("ExecReload: %d %s%s", code, out, errs)
	}
	if code, out, errs := loopmesh(command(t, u["ExecStop"][0], config)...); code != 0 || out != "n1 has left\n" {
		n.stop()
		t.Fatalf("ExecStop: %d %s%s", code, out, errs)
	}
	n.end(t)
	// systemd runs ExecStop behind the end of a node that was drained by somebody else, too.
	if code, _, _ := loopmesh(command(t, u["ExecStop"][0], config)...); code != 0 && !strings.HasPrefix(u["ExecStop"][0], "-") {
		t.Errorf("ExecStop without a node is %d: the unit would fail, and the drained node start again", code)
	}
	limit, err := time.ParseDuration(u["TimeoutStopSec"][0])
	if err != nil || limit <= 60*time.Second {
		t.Errorf("TimeoutStopSec is %v, and the drain may take 60s", u["TimeoutStopSec"])
	}
	for key, want := range map[string]string{"Type": "notify", "NotifyAccess": "main", "User": "loopmesh", "RuntimeDirectoryMode": "0700", "NoNewPrivileges": "yes", "ProtectSystem": "strict"} {
		if !slices.Equal(u[key], []string{want}) {
			t.Errorf("%s is %q, want %q", key, u[key], want)
		}
	}
	if _, err := time.ParseDuration(u["WatchdogSec"][0]); err != nil {
		t.Error(err)
	}
}

// manifest is the documents of the manifest by their kinds.
func manifest(t *testing.T) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	in := yaml.NewDecoder(strings.NewReader(deployed(t, "kubernetes/loopmesh.yaml")))
	for {
		var doc map[string]any
		err := in.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out[doc["kind"].(string)] = doc
	}
}

// at walks down a document.
func at[T any](t *testing.T, doc any, path ...any) T {
	t.Helper()
	for _, step := range path {
		switch s := step.(type) {
		case string:
			doc = doc.(map[string]any)[s]
		case int:
			doc = doc.([]any)[s]
		}
	}
	v, ok := doc.(T)
	if !ok {
		t.Fatalf("%v is %T", path, doc)
	}
	return v
}

func texts(all []any) (out []string) {
	for _, a := range all {
		out = append(out, a.(string))
	}
	return out
}

// podKeys is what the init container of the second pod makes of the keys that the head of the
// manifest has made, and of the token.
func podKeys(t *testing.T) string {
	t.Helper()
	all, found := filepath.Join(t.TempDir(), "keys"), false
	for line := range strings.Lines(deployed(t, "kubernetes/loopmesh.yaml")) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "#   loopmesh keys init keys "); ok {
			found = true
			if code, _, errs := loopmesh(append([]string{"keys", "init", all}, strings.Fields(rest)...)...); code != 0 {
				t.Fatalf("%s%s", line, errs)
			}
		}
	}
	if !found {
		t.Fatal("the manifest does not say how its keys are made")
	}
	dir := filepath.Join(all, "nodes", "loopmesh-1")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTheManifest: the command line of the pod is one of start, its probes are answered by a
// node without a token, its hook drains that node, and its ports, volumes and names fit.
func TestTheManifest(t *testing.T) {
	docs := manifest(t)
	if len(docs) != 3 {
		t.Fatalf("the kinds are %d", len(docs))
	}
	pod := at[map[string]any](t, docs["StatefulSet"], "spec", "template", "spec")
	node := at[map[string]any](t, pod, "containers", 0)
	args := texts(at[[]any](t, node, "args"))
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "$(POD)", "loopmesh-1")
	}
	if args[0] != "start" {
		t.Fatalf("the pod runs %q", args)
	}
	keys := podKeys(t)
	line := []string{"config", "check"}
	for _, a := range args[1:] {
		line = append(line, strings.Replace(a, "=/keys", "="+keys, 1))
	}
	if code, _, errs := loopmesh(line...); code != 0 {
		t.Errorf("its command line: %d %s", code, errs)
	}
	if routes := args[slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "--routes=") })]; strings.Count(routes, ",")+1 != at[int](t, docs["StatefulSet"], "spec", "replicas") {
		t.Errorf("%s are not as many as the replicas", routes)
	}
	mounted := map[string]bool{}
	for _, v := range append(at[[]any](t, pod, "volumes"), at[any](t, docs["StatefulSet"], "spec", "volumeClaimTemplates", 0, "metadata")) {
		mounted[at[string](t, v, "name")] = true
	}
	for _, c := range []any{node, at[any](t, pod, "initContainers", 0)} {
		for _, m := range at[[]any](t, c, "volumeMounts") {
			if !mounted[at[string](t, m, "name")] {
				t.Errorf("there is no volume %v", m)
			}
		}
	}
	ports := map[string]int{}
	for _, p := range at[[]any](t, node, "ports") {
		ports[at[string](t, p, "name")] = at[int](t, p, "containerPort")
	}
	for _, p := range at[[]any](t, docs["Service"], "spec", "ports") {
		if ports[at[string](t, p, "name")] != at[int](t, p, "port") {
			t.Errorf("the service's port %v is none of the pod: %v", p, ports)
		}
	}

	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("LOOPMESH_SOCKET", filepath.Join(t.TempDir(), "admin.sock"))
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef0123"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := begin(t, "start", "--name", "n1", "--admin-listen", "127.0.0.1:0", "--admin-token-file", token)
	for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
		path := at[string](t, node, probe, "httpGet", "path")
		if name := at[string](t, node, probe, "httpGet", "port"); ports[name] == 0 {
			t.Errorf("%s asks port %s, which there is not", probe, name)
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, n.admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %s", probe, path, resp.Status)
		}
	}
	hook := texts(at[[]any](t, node, "lifecycle", "preStop", "exec", "command"))
	if hook[0] != "/loopmesh" || !strings.Contains(deployed(t, "Dockerfile"), `ENTRYPOINT ["/loopmesh"]`) {
		t.Errorf("the hook calls %s, which is not the image's program", hook[0])
	}
	if code, out, errs := loopmesh(hook[1:]...); code != 0 || out != "n1 has left\n" {
		n.stop()
		t.Fatalf("the hook: %d %s%s", code, out, errs)
	}
	n.end(t)
	limit, err := time.ParseDuration(hook[slices.Index(hook, "--limit")+1])
	if grace := at[int](t, pod, "terminationGracePeriodSeconds"); err != nil || time.Duration(grace)*time.Second <= limit {
		t.Errorf("the pod is killed after %d seconds, its drain may take %v", grace, limit)
	}
}

// TestThePackage: what the packages hold exists, or is made by the target.
func TestThePackage(t *testing.T) {
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(deployed(t, "packages/nfpm.yaml")), &doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range at[[]any](t, doc, "contents") {
		src := at[string](t, c, "src")
		if strings.HasPrefix(src, "bin/packages/") {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", "..", src)); err != nil {
			t.Error(err)
		}
	}
	for _, script := range []string{"postinstall", "preremove"} {
		if text := deployed(t, "packages/"+script+".sh"); !strings.Contains(text, `[ -z "$DPKG_ROOT" ]`) {
			t.Errorf("%s would reach the services of the machine that installs into a folder", script)
		}
	}
}
