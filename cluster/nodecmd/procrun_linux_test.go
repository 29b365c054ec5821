package nodecmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// asProgram in the environment makes the test binary the program: what it does with
// signals and with stdin is that of a process.
const asProgram = "LOOPMESHTEST_AS_PROGRAM"

const profilesText = `
any: {argv: ["{...}"], words: "(?s).*"}
greet:
  argv: [/bin/echo, "hello {who}", "{...}"]
  args: {who: "[a-z]+"}
  defaults: {who: world}
  accept: [LANG]
job: {argv: [/bin/sh, -c, "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); sleep 0.02; done; exit 6"], orphan: keep}
patient: {argv: [/bin/sh, -c, "while [ ! -e go ]; do echo waits; sleep 0.02; done; echo goes; exit 6"], dir: /tmp, orphan: keep}
short: {argv: [/bin/sleep, "1000"], max_time: 200ms}
one: {argv: [/bin/sh, -c, "echo ready; sleep 1000"], children: 1, grace: 300ms}
`

// asProcess is the command line as a process.
func asProcess(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// ran runs it to its end.
func ran(t *testing.T, stdin string, args ...string) said {
	t.Helper()
	cmd := asProcess(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	alarm := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer alarm.Stop()
	_ = cmd.Wait() // its code says it
	return said{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// runs starts the program for as long as the test, and reads what it prints.
func runs(t *testing.T, args ...string) (cmd *exec.Cmd, out *bufio.Reader) {
	t.Helper()
	cmd = asProcess(args...)
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = os.Stderr
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // ended already is as good
		_ = cmd.Wait()
	})
	return cmd, bufio.NewReader(pipe)
}

// heard reads until a line matches, and returns what the first group has found.
func heard(t *testing.T, in *bufio.Reader, pattern string) string {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if m := regexp.MustCompile(pattern).FindStringSubmatch(line); m != nil {
			return m[len(m)-1]
		}
		if err != nil {
			t.Fatalf("%v before %q", err, pattern)
		}
	}
}

// fleet is n1, n2 and n3, the last two with profiles.
func fleet(t *testing.T, allow ...string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	file := filepath.Join(dir, "profiles.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(profilesText, "dir: /tmp", "dir: "+dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out := runs(t, "start", "--name", "n1", "--listen", "127.0.0.1:0", "--loops", "1", "--log-level", "off")
	at := heard(t, out, `--join (\S+)`)
	heard(t, out, "Ctrl-C")
	for _, name := range []string{"n2", "n3"} {
		_, out := runs(t, append([]string{"start", "--name", name, "--join", at, "--loops", "1", "--profile", file, "--log-level", "off", "--drain", "0s"}, allow...)...)
		heard(t, out, "Ctrl-C")
	}
	for _, name := range []string{"n1", "n2", "n3"} { // each learns of the others by itself
		if s := ran(t, "", "wait", "--node", name, "--for", "members=3", "--timeout", "1m"); s.code != exitOK {
			t.Fatalf("%+v", s)
		}
	}
}

func TestProcRun(t *testing.T) {
	fleet(t, "--allow", "call:*", "--allow", "spawn:*")
	one := func(args ...string) []string { return append([]string{"proc", "run", "--node", "n1"}, args...) }
	for what, c := range map[string]struct {
		stdin string
		args  []string
		code  int
		out   string
		errs  string // a part
	}{
		"words behind --, profile any": {"", []string{"--on", "n2", "--", "echo", "-n", "a b"}, 0, "a b", ""},
		"the exit code":                {"", []string{"--on", "n2", "--", "sh", "-c", "echo no >&2; exit 42"}, 42, "", "no\n"},
		"a signal":                     {"", []string{"--on", "n2", "--", "sh", "-c", "kill -9 $$"}, 137, "", ""},
		"stdin":                        {"one\ntwo\n", []string{"--on", "n2", "--", "tac"}, 0, "two\none\n", ""},
		"no stdin":                     {"one\n", []string{"--no-stdin", "--on", "n2", "--", "cat"}, 0, "", ""},
		"a profile":                    {"", []string{"--on", "n2", "greet", "who=anna"}, 0, "hello anna\n", ""},
		"a default and words":          {"", []string{"--on", "n2", "greet", "--", "x"}, 0, "hello world x\n", ""},
		"a variable":                   {"", []string{"--on", "n2", "-e", "LANG=de", "greet"}, 0, "hello world\n", ""},
		"an argument that is refused":  {"", []string{"--on", "n2", "greet", "who=Anna"}, exitUsage, "", "LM3116"},
		"a variable that is refused":   {"", []string{"--on", "n2", "-e", "PATH=/", "greet"}, exitUsage, "", "LM3116"},
		"no such profile":              {"", []string{"--on", "n2", "restore"}, exitNotFound, "", `none named "restore"; it offers what it was started with (start --profile FILE) (LM3115)`},
		"a node without profiles":      {"", []string{"--on", "n1", "greet"}, exitNotFound, "", `none named "greet"; it offers what it was started with (start --profile FILE) (LM3115)`},
		"no such node":                 {"", []string{"--on", "n9", "greet"}, exitNotFound, "", "LM3102"},
		"no such program":              {"", []string{"--on", "n2", "--", "no-such-program"}, exitFailed, "", "LM3118"},
		"longer than it may run":       {"", []string{"--on", "n2", "short"}, 128 + 15, "", "LM3120"},
		"no --on":                      {"", []string{"greet"}, exitUsage, "", "--on is missing"},
		"nothing to run":               {"", []string{"--on", "n2"}, exitUsage, "", "nothing to run"},
		"no NAME=VALUE":                {"", []string{"--on", "n2", "greet", "anna"}, exitUsage, "", `"anna" is not NAME=VALUE`},
		"a name twice":                 {"", []string{"--on", "n2", "greet", "who=a", "who=b"}, exitUsage, "", "twice"},
		"a node twice":                 {"", []string{"--on", "n2,n2", "greet"}, exitUsage, "", "each node once"},
	} {
		s := ran(t, c.stdin, one(c.args...)...)
		if s.code != c.code || s.out != c.out || !strings.Contains(s.errs, c.errs) || c.errs == "" && s.errs != "" {
			t.Errorf("%s: code %d, %q, %q", what, s.code, s.out, s.errs)
		}
		if strings.Contains(s.errs, "loopmesh.spawn") || strings.Contains(s.errs, "functions of") || strings.Contains(s.errs, "loops of") {
			t.Errorf("%s: it tells how it works inside: %q", what, s.errs)
		}
	}
}

func TestProcAttach(t *testing.T) {
	fleet(t, "--allow", "call:*", "--allow", "spawn:*")
	ask := func(args ...string) said {
		return ran(t, "", append(append([]string{"proc"}, args...), "--node", "n1")...)
	}
	s := ask("run", "--on", "n2", "--detach", "patient")
	id := strings.TrimSpace(s.out)
	if s.code != exitOK || id != "n2/patient/1" {
		t.Fatalf("%+v", s)
	}
	listed := strings.TrimSpace(ask("ls", "--filter", "process="+id, "-o", "name").out)
	if !strings.HasPrefix(listed, "n2/proc/procs/") {
		t.Fatalf("proc ls prints %q", listed)
	}
	attached, lines := runs(t, "proc", "attach", "--node", "n1", listed) // as proc ls prints it
	heard(t, lines, "^waits")
	if err := os.WriteFile(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	heard(t, lines, "^goes")
	if err := attached.Wait(); attached.ProcessState.ExitCode() != 6 {
		t.Errorf("as proc ls prints it: %v", err)
	}
	if ended := ask("ls", "-o", "name"); strings.TrimSpace(ended.out) != id {
		t.Errorf("after its end it is kept, and proc ls prints %q", ended.out)
	}
	if s := ask("attach", listed); s.code != exitNotFound {
		t.Errorf("the PID is nobody's any more: %+v", s)
	}
	if s := ask("attach", id); s.code != 6 || !strings.HasSuffix(s.out, "goes\n") {
		t.Errorf("after its end: %+v", s)
	}
	for what, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nobody of that number":   {[]string{"attach", "n2/job/99"}, exitNotFound, "LM3119"},
		"no id":                   {[]string{"attach", "n2/job"}, exitUsage, `as "loopmesh proc ls"`},
		"no child of that number": {[]string{"attach", "n2/proc/procs/1"}, exitNotFound, `no process "n2/proc/procs/1"`},
		"one that keeps nothing":  {[]string{"run", "--on", "n2", "--detach", "one"}, exitFailed, "LM3120"},
		"several nodes at a time": {[]string{"run", "--on", "n2,n3", "--detach", "job"}, exitUsage, "one node"},
	} {
		if s := ask(c.args...); s.code != c.code || !strings.Contains(s.errs, c.says) {
			t.Errorf("%s: %+v", what, s)
		}
	}
	first, out := runs(t, "proc", "run", "--node", "n1", "--on", "n2", "job")
	heard(t, out, "^line 3")
	if err := first.Process.Kill(); err != nil { // it runs on
		t.Fatal(err)
	}
	within(t, "its number can be attached to", func() bool { s := ask("attach", "n2/job/3"); return s.code == 6 })
}

func TestProcRunAgainstTheLimit(t *testing.T) {
	fleet(t, "--allow", "call:*", "--allow", "spawn:*")
	first, out := runs(t, "proc", "run", "--node", "n1", "--on", "n2", "one")
	heard(t, out, "^ready")
	if s := ran(t, "", "proc", "run", "--node", "n1", "--on", "n2", "one"); s.code != exitRefused || !strings.Contains(s.errs, "LM3117") {
		t.Errorf("%+v", s)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, "its place is free", func() bool {
		cmd, out := runs(t, "proc", "run", "--node", "n1", "--on", "n2", "one")
		line, _ := out.ReadString('\n')
		_ = cmd.Process.Kill()
		return line == "ready\n"
	})
}

func TestWithoutTheRightProcRunSaysWhatToDo(t *testing.T) {
	fleet(t)
	s := ran(t, "", "proc", "run", "--node", "n2", "--on", "n3", "greet")
	if s.code != exitRefused || !strings.Contains(s.errs, "LM3110") || !strings.Contains(s.errs, "spawn:greet") {
		t.Errorf("%+v", s)
	}
	if s := ran(t, "", "proc", "run", "--node", "n2", "--on", "n2", "greet"); s.code != exitOK || s.out != "hello world\n" {
		t.Errorf("on the node that is asked: %+v", s)
	}
}

// TestAnOrderWithoutTheRightSaysWhatToDo, and does not name the function that carries it.
func TestAnOrderWithoutTheRightSaysWhatToDo(t *testing.T) {
	fleet(t, "--allow", "call:*")
	for _, words := range [][]string{{"drain", "n3"}, {"log", "tail", "n3"}, {"pprof", "n3"}} {
		s := ran(t, "", append(words, "--node", "n2")...)
		if s.code != exitRefused || !strings.Contains(s.errs, "LM3110") || !strings.Contains(s.errs, "ask a node that has the right") || strings.Contains(s.errs, "loopmesh.order") {
			t.Errorf("%v: %+v", words, s)
		}
	}
}

// TestProcRunPassesSignals: the first Ctrl-C reaches the process, which may do with it what
// it likes, the second one kills it; and this command goes on until it has ended.
func TestProcRunPassesSignals(t *testing.T) {
	fleet(t, "--allow", "call:*", "--allow", "spawn:*")
	begin := func(script string) (*exec.Cmd, *bufio.Reader) {
		cmd, out := runs(t, "proc", "run", "--node", "n1", "--on", "n2", "--", "sh", "-c", script)
		heard(t, out, "^ready")
		return cmd, out
	}
	code := func(cmd *exec.Cmd) int {
		_ = cmd.Wait() // its code says it
		return cmd.ProcessState.ExitCode()
	}
	send := func(cmd *exec.Cmd, sig os.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	for sig, want := range map[syscall.Signal]int{syscall.SIGINT: 21, syscall.SIGTERM: 22, syscall.SIGHUP: 23} {
		cmd, _ := begin("trap 'exit 21' INT; trap 'exit 22' TERM; trap 'exit 23' HUP; echo ready; while :; do sleep 0.01; done")
		send(cmd, sig)
		if got := code(cmd); got != want {
			t.Errorf("%v: %d, want %d", sig, got, want)
		}
	}
	cmd, out := begin("trap 'echo no' INT; echo ready; while :; do sleep 0.01; done")
	send(cmd, syscall.SIGINT)
	heard(t, out, "^no")
	send(cmd, syscall.SIGINT)
	if got := code(cmd); got != 128+9 {
		t.Errorf("a second Ctrl-C: %d", got)
	}
	t.Run("a command that is killed takes its process along", func(t *testing.T) {
		cmd, out := runs(t, "proc", "run", "--node", "n1", "--on", "n2", "--", "sh", "-c", "echo $$; sleep 1000")
		pid := heard(t, out, "^([0-9]+)")
		send(cmd, syscall.SIGKILL)
		within(t, "the process ends", func() bool { _, err := os.Stat("/proc/" + pid); return os.IsNotExist(err) })
	})
}

// within waits for a condition.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// TestProcRunOnSeveralNodes: whole lines with their nodes' names, and who failed.
func TestProcRunOnSeveralNodes(t *testing.T) {
	fleet(t, "--allow", "call:*", "--allow", "spawn:*")
	s := ran(t, "not read", "proc", "run", "--node", "n1", "--on", "n2,n3", "--", "sh", "-c", "i=0; while [ $i -lt 200 ]; do printf 'half '; printf 'line %s\n' $i; i=$((i+1)); done; printf end; cat")
	if s.code != exitOK || strings.Contains(s.errs, "failed") {
		t.Errorf("%d, %q", s.code, s.errs)
	}
	next := map[string]int{}
	for line := range strings.SplitSeq(strings.TrimSuffix(s.out, "\n"), "\n") {
		node, rest, _ := strings.Cut(line, ": ")
		if want := fmt.Sprintf("half line %d", next[node]); rest != want && (rest != "end" || next[node] != 200) {
			t.Fatalf("%q, want %q", line, want)
		}
		next[node]++
	}
	if next["n2"] != 201 || next["n3"] != 201 || len(next) != 2 {
		t.Errorf("%v", next)
	}
	s = ran(t, "", "proc", "run", "--node", "n1", "--on", "all", "--", "sh", "-c", "exit 3")
	for _, want := range []string{"\nn2  exit 3 after ", "\nn3  exit 3 after ", "n1  unknown profile", "(LM3115)", "3 of 3 failed\n"} {
		if !strings.Contains("\n"+s.errs, want) {
			t.Errorf("%q lacks %q", s.errs, want)
		}
	}
	if s.code != exitFailed || s.out != "" {
		t.Errorf("%+v", s)
	}
	t.Run("Ctrl-C reaches all", func(t *testing.T) {
		cmd, out := runs(t, "proc", "run", "--node", "n1", "--on", "n2,n3", "--", "sh", "-c", "trap 'exit 3' INT; echo ready; while :; do sleep 0.01; done")
		heard(t, out, "ready")
		heard(t, out, "ready")
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != exitFailed {
			t.Error(got)
		}
	})
}

// TestProcRunIsBounded: 64 MiB pass while the reader is slow at first, and come whole.
func TestProcRunIsBounded(t *testing.T) {
	fleet(t, "--allow", "call:*", "--allow", "spawn:*")
	_, out := runs(t, "proc", "run", "--node", "n1", "--on", "n2", "--", "sh", "-c", "head -c 67108864 /dev/zero; echo done >&2")
	pause := time.NewTimer(300 * time.Millisecond) // nobody reads
	<-pause.C
	if n, err := io.Copy(io.Discard, out); n != 64<<20 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestProcRunByHand: the frames that docs of the API describe, as any HTTP client sees them.
func TestProcRunByHand(t *testing.T) {
	fleet(t, "--allow", "call:*", "--allow", "spawn:*")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", admin.Path("n1"))
	}}}
	defer client.CloseIdleConnections()
	post := func(body string) (int, string) {
		resp, err := client.Post("http://node/api/v1/procs/run", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	status, text := post(`{"on":"n2","profile":"any","words":["sh","-c","cat; echo out; exit 5"]}`)
	var out []byte
	var last admin.RunFrame
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		last = admin.RunFrame{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatal(line, err)
		}
		out = append(out, last.Stdout...)
	}
	if status != http.StatusOK || string(out) != "out\n" || last.Exit == nil || last.Exit.Code != 5 {
		t.Errorf("%d, %s", status, text)
	}
	for body, want := range map[string]string{`{`: "LM1009", `{"on":"n2","profile":"greet","args":{"x":"y"}}`: "LM3116", `{"on":"n2"}`: "LM3115"} {
		if status, text := post(body); status == http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d, %s", body, status, text)
		}
	}
}

func TestProfileFiles(t *testing.T) {
	check := func(text string) said {
		return loopmesh("config", "check", "--config", configFile(t, "profile: ["+configFile(t, text)+"]\n"))
	}
	if s := check(profilesText); s.code != exitOK {
		t.Errorf("%+v", s)
	}
	if s := check(""); s.code != exitOK {
		t.Errorf("an empty file: %+v", s)
	}
	for text, want := range map[string]string{
		"p: {argv: [cat]}":                             "no absolute path",
		"p: {argv: [/bin/cat], usr: root}":             "field usr not found",
		"p: [x]":                                       "cannot unmarshal",
		"p: {argv: [/bin/cat], grace: soon}":           "cannot unmarshal",
		"p: {argv: [/bin/cat]}\np: {argv: [/bin/cat]}": "already defined",
	} {
		if s := check(text); s.code != exitConfig || !strings.Contains(s.errs, want) {
			t.Errorf("%q: %+v", text, s)
		}
	}
	one := configFile(t, "p: {argv: [/bin/cat]}")
	for want, paths := range map[string][]string{"stands in": {one, configFile(t, "p: {argv: [/bin/cat]}")}, "no such file": {"/no/such/file"}, "is no file": {"/dev/null"}} {
		args := []string{"config", "check"}
		for _, p := range paths {
			args = append(args, "--profile", p)
		}
		if s := loopmesh(args...); s.code != exitConfig || !strings.Contains(s.errs, want) {
			t.Errorf("%s: %+v", want, s)
		}
	}
}
