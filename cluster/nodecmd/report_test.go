package nodecmd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/loopnode"
)

// unpacked is an archive by the names of its files.
func unpacked(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for in := tar.NewReader(zip); ; {
		h, err := in.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil || h.Mode != 0o600 {
			t.Fatalf("%s: %v, mode %o", h.Name, err, h.Mode)
		}
		out[strings.TrimPrefix(h.Name, "loopmesh-report/")] = string(text)
	}
}

// planted are secrets in the forms in which they get into logs, names and settings. SECRET
// is in each and must be in no report.
func planted(t *testing.T) []string {
	t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := kp.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		string(seed), "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5In0.SECRET.SECRET_SIG", "Authorization: Bearer SECRET0123456789", "nats://me:SECRET@10.0.0.1:4222",
		"password=SECRET", `{"token": "SECRET"}`, "NATS_PASSWORD: SECRET", "client-secret='SECRET'", "--api-key=SECRET",
		"-----BEGIN EC PRIVATE KEY-----\nSECRET\n-----END EC PRIVATE KEY-----", "-----BEGIN USER NKEY SEED-----\nSECRET\n------END USER NKEY SEED------",
	}
}

func TestSecretsAreTakenOut(t *testing.T) {
	all := planted(t)
	for _, text := range all {
		got := redact("before " + text + " behind")
		if strings.Contains(got, "SECRET") || strings.Contains(got, all[0]) || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " behind") || !strings.Contains(got, removed) {
			t.Errorf("%q is %q", text, got)
		}
		doc, err := json.Marshal(map[string]any{"text": text, "token": 7, "rest": "x"})
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			Text  string
			Token int
			Rest  string
		}
		if got := redact(string(doc)); json.Unmarshal([]byte(got), &back) != nil || strings.Contains(got, "SECRET") || back.Token != 7 || back.Rest != "x" {
			t.Errorf("%s is %s", doc, got)
		}
	}
	for _, text := range []string{`"token": 1116839`, "admin-token-file: /etc/loopmesh/token", "passwords are not logged", "http://127.0.0.1:7070/", `"password-file": ""`} {
		if got := redact(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// leak logs, names and says what must not leave the machine.
var leak = cluster.Func("test.leak", func(ctx context.Context, texts []string) (int, error) {
	loop, err := loopnode.Running(ctx)
	if err != nil {
		return 0, err
	}
	for _, text := range texts {
		loopnode.Go(ctx, "task "+text, func(ctx context.Context) error { return loopnode.Sleep(ctx, 1<<50) })
		loop.CallSoon(func() { panic(fmt.Sprint("panic with ", text)) })
	}
	return 0, nil
})

func TestReport(t *testing.T) {
	village(t)
	_ = leak
	t.Chdir(t.TempDir())
	texts := planted(t)
	arg, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	if s := loopmesh("func", "call", "test.leak", string(arg), "--on", "n2/io-0"); s.code != exitOK {
		t.Fatalf("%+v", s)
	}
	t.Run("it has every part", func(t *testing.T) {
		s := loopmesh("report", "--file", "r.tar.gz", "--timeout", "1m")
		if s.code != exitOK || !strings.HasPrefix(s.out, "wrote r.tar.gz (") {
			t.Fatalf("%+v", s)
		}
		files := unpacked(t, "r.tar.gz")
		for _, want := range []string{
			"README.txt", "findings.json", "nodes.json", "loops.json", "tasks.json", "conns.json", "servers.json", "procs.json", "actors.json", "funcs.json", "traffic.json", "calls.json", "events.json",
			"health.json", "settings.json", "metrics.txt", "nodes/n1/log.txt", "nodes/n2/log-levels.json", "nodes/n3/stacks.txt",
		} {
			if _, ok := files[want]; !ok {
				t.Errorf("%s is not in it", want)
			}
		}
		if _, ok := files["errors.txt"]; ok || len(files) != 13+3+3*3 {
			t.Errorf("%d files, errors: %s", len(files), files["errors.txt"])
		}
		if !strings.Contains(files["nodes/n2/log.txt"], "panic with") || !strings.Contains(files["tasks.json"], "task ") || !strings.Contains(files["nodes/n3/stacks.txt"], "goroutine profile") || !strings.Contains(files["metrics.txt"], "loopmesh_info") {
			t.Error("what was logged, named and run is not in it")
		}
		for _, want := range []string{"  n2  ready  version ", "Everybody answered.", "What check finds\n\n  ", "admin API", "was asked, and every member"} {
			if !strings.Contains(files["README.txt"], want) {
				t.Errorf("%q is not in %s", want, files["README.txt"])
			}
		}
		for name, text := range files {
			if about := whatFilesAre[fileOf(name)]; name != "README.txt" && (about == "" || !strings.Contains(files["README.txt"], about)) {
				t.Errorf("%s is not explained", name)
			}
			if strings.Contains(text, "SECRET") || strings.Contains(text, texts[0]) {
				t.Errorf("%s has a secret", name)
			}
			if filepath.Ext(name) == ".json" && !json.Valid([]byte(text)) {
				t.Errorf("%s is no document any more", name)
			}
		}
	})
	t.Run("nothing is written over", func(t *testing.T) {
		if s := loopmesh("report", "--file", "r.tar.gz"); s.code != exitUsage || !strings.Contains(s.errs, "--file") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("what cannot be had is named, in it and by the exit code", func(t *testing.T) {
		done, before := make(chan said, 1), blocks.Load()
		go func() { done <- loopmesh("func", "call", "test.block", "null", "--on", "n3/admin", "--timeout", "2m") }()
		defer func() { release <- struct{}{}; <-done }()
		soon(t, "the loop stands still", func() bool { return blocks.Load() > before })
		s := loopmesh("report", "--file", "partial.tar.gz", "--timeout", "6s", "-o", "json")
		if s.code != exitUnreachable || !strings.Contains(s.errs, "nodes/n3/log.txt") {
			t.Fatalf("%+v", s)
		}
		files := unpacked(t, "partial.tar.gz")
		if !strings.Contains(files["errors.txt"], "nodes/n3/log.txt: ") || !strings.Contains(files["README.txt"], "nodes/n3/log.txt  ") || !strings.Contains(files["README.txt"], "errors.txt ") || files["nodes/n1/log-levels.json"] == "" {
			t.Errorf("%v", files["errors.txt"])
		}
		if s := loopmesh("report", "--file", "allowed.tar.gz", "--timeout", "3s", "--allow-partial"); s.code != exitOK {
			t.Errorf("%+v", s)
		}
	})
}

func TestArgumentsOfChildrenAreTakenOut(t *testing.T) {
	list := &admin.List[admin.Child]{Items: []admin.Child{{Args: []string{"curl", "-u", "me:x"}}, {Args: []string{"date"}}, {}}}
	if _, err := withoutArguments(list, nil); err != nil || !slices.Equal(list.Items[0].Args, []string{"curl", "(2 arguments taken out)"}) || len(list.Items[1].Args) != 1 || len(list.Items[2].Args) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestLogsOfANode(t *testing.T) {
	village(t)
	t.Run("levels are listed and changed, and that is an event", func(t *testing.T) {
		if s := loopmesh("log", "levels", "n2"); s.code != exitOK || !strings.HasPrefix(s.out, "MODULE") || !strings.Contains(s.out, "*") || !strings.Contains(s.out, "warn") {
			t.Fatalf("%+v", s)
		}
		for _, args := range []string{"n2 debug --module n2.loop", "n2 error", "n2 default --module n2.loop", "n2 warn"} {
			if s := loopmesh(append([]string{"log", "set"}, strings.Fields(args)...)...); s.code != exitOK || s.out != "" {
				t.Errorf("%s: %+v", args, s)
			}
		}
		if s := loopmesh("events", "--kind", "LM6110"); strings.Count(s.out, "log level of ") != 4 {
			t.Errorf("%+v", s)
		}
		for args, code := range map[string]int{"n2 loud": exitUsage, "n2 default": exitUsage, "n9 debug": exitNotFound, "n2": exitUsage} {
			if s := loopmesh(append([]string{"log", "set"}, strings.Fields(args)...)...); s.code != code || s.errs == "" {
				t.Errorf("%s: %+v", args, s)
			}
		}
	})
	t.Run("the last lines can be read from elsewhere", func(t *testing.T) {
		if s := loopmesh("func", "call", "test.panic", "null", "--on", "n3/io-0"); s.code != exitFailed {
			t.Fatalf("%+v", s)
		}
		if s := loopmesh("func", "call", "test.leak", `["hello"]`, "--on", "n3/io-0"); s.code != exitOK {
			t.Fatalf("%+v", s)
		}
		for !strings.Contains(loopmesh("log", "tail", "n3").out, "panic with hello") { // the callback runs in a later turn
		}
		if s := loopmesh("log", "tail", "n3", "--lines", "1", "-o", "jsonl"); s.code != exitOK || strings.Count(s.out, "\n") != 1 {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("log", "tail", "n3", "--module", "no.such"); s.code != exitOK || s.out != "" {
			t.Errorf("%+v", s)
		}
		for args, code := range map[string]int{"n3 --lines 0": exitUsage, "n9": exitNotFound} {
			if s := loopmesh(append([]string{"log", "tail"}, strings.Fields(args)...)...); s.code != code || s.out != "" {
				t.Errorf("%s: %+v", args, s)
			}
		}
	})
}

func TestPprof(t *testing.T) {
	village(t)
	t.Chdir(t.TempDir())
	gzipped := []byte{0x1f, 0x8b}
	for args, file := range map[string]string{
		"n2 --seconds 1": "n2-cpu.pprof", "n2 --of heap": "n2-heap.pprof", "n1 --of goroutine --file g": "g", "n3 --of stacks": "n3-stacks.txt.gz", "n1 --of mutex --seconds 1": "n1-mutex.pprof", "n1 --of block --seconds 1 -o json": "n1-block.pprof",
	} {
		s := loopmesh(append([]string{"pprof"}, strings.Fields(args)...)...)
		data, err := os.ReadFile(file)
		if s.code != exitOK || err != nil || !bytes.HasPrefix(data, gzipped) || !strings.Contains(s.out, file) {
			t.Errorf("%s: %+v, %v, %d bytes", args, s, err, len(data))
		}
		if info, err := os.Stat(file); err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	if text, err := os.ReadFile("n3-stacks.txt.gz"); err == nil {
		if plain, err := unzipped(text); err != nil || !strings.Contains(string(plain), "goroutine profile: total") {
			t.Errorf("%v %.200s", err, plain)
		}
	}
	for args, code := range map[string]int{
		"n2 --seconds 0": exitUsage, "n2 --seconds 61": exitUsage, "n2 --of fun": exitUsage, "n2 --timeout 0s": exitUsage, "n9 --of heap": exitNotFound, "n2 --of heap": exitUsage, "": exitUsage,
	} {
		if s := loopmesh(append([]string{"pprof"}, strings.Fields(args)...)...); s.code != code || s.out != "" {
			t.Errorf("%q: %+v", args, s)
		}
	}
	t.Run("one at a time", func(t *testing.T) {
		done := make(chan said, 1)
		go func() { done <- loopmesh("pprof", "n1", "--seconds", "2", "--file", "long") }()
		for !strings.Contains(loopmesh("events", "--kind", "LM6111", "--since", "1m", "-o", "jsonl").out, `"node":"n1","code":"LM6111","kind":"order","level":"info","subject":"n1","text":"profile of cpu"`) {
		}
		if s := loopmesh("pprof", "n2", "--of", "heap", "--file", "second"); s.code != exitRefused || !strings.Contains(s.errs, "another profile") {
			t.Errorf("%+v", s)
		}
		if s := <-done; s.code != exitOK {
			t.Errorf("%+v", s)
		}
	})
}
