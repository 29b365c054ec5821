package readme

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/loopmesh/loopmesh/cluster/nodecmd"
	"github.com/loopmesh/loopmesh/cmd/node/demo"
)

// pages are README.md and everything in docs/, by their paths from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	root := filepath.Join("..", "..")
	add := func(path string) {
		raw, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		out[path] = string(raw)
	}
	add("README.md")
	err := fs.WalkDir(os.DirFS(root), "docs", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			add(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLinksOfThePages: what a page refers to is there.
func TestLinksOfThePages(t *testing.T) {
	link, code, checked := regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`), regexp.MustCompile("(?s)```.*?```|`[^`]*`"), 0
	for path, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			if _, err := os.Stat(filepath.Join("..", "..", filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d links were looked at", checked)
	}
}

// TestTestsThatThePagesName: a page that names a test as its proof names one that there is.
func TestTestsThatThePagesName(t *testing.T) {
	have := map[string]bool{}
	definition := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark)\w+)\(`)
	err := fs.WalkDir(os.DirFS(filepath.Join("..", "..")), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(filepath.Join("..", "..", path))
		for _, m := range definition.FindAllStringSubmatch(string(raw), -1) {
			have[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named, checked := regexp.MustCompile("`((?:Test|Benchmark)[A-Z]\\w+)`"), 0
	for path, text := range pages(t) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			checked++
			if !have[m[1]] {
				t.Errorf("%s names %s, which there is not", path, m[1])
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d names were looked at", checked)
	}
}

// words splits a command line as a shell does, as far as the pages use it: quotes of both
// kinds, and everything from a pipe, a redirection or a comment on left out.
func words(line string) (out []string) {
	var word strings.Builder
	var quote rune
	inWord := false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, inWord = r, true
		case quote == 0 && strings.ContainsRune("|&>;#", r):
			return out
		case quote == 0 && r == ' ':
			if inWord {
				out = append(out, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	return out
}

// TestCommandsOfThePages: each command line of this program that a page shows has a command
// and flags that there are. --help in front of its end keeps it from running.
func TestCommandsOfThePages(t *testing.T) {
	shell, called, checked := regexp.MustCompile("(?s)```sh[^\n]*\n(.*?)```"), regexp.MustCompile(`^(?:\./)?loopmesh |^kubectl exec \S+ -- /loopmesh `), 0
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	chat := nodecmd.WithService(nodecmd.Service{Name: "chat", About: "serve a chat", Start: demo.Chat})
	for path, text := range pages(t) {
		for _, block := range shell.FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(block[1]) {
				line = strings.TrimSpace(line)
				at := called.FindString(line)
				if at == "" {
					continue
				}
				checked++
				var out, errs bytes.Buffer
				if code := nodecmd.Run(context.Background(), append(words(line[len(at):]), "--help"), &out, &errs, chat); code != 0 || !strings.Contains(out.String(), "Usage:") {
					t.Errorf("%s: %q: %d %s", path, line, code, errs.String())
				}
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d command lines were looked at", checked)
	}
}

// TestYAMLOfThePages: what a page shows as YAML is some.
func TestYAMLOfThePages(t *testing.T) {
	block, checked := regexp.MustCompile("(?s)```yaml\n(.*?)```"), 0
	for path, text := range pages(t) {
		for _, m := range block.FindAllStringSubmatch(text, -1) {
			checked++
			var v map[string]any
			if err := yaml.Unmarshal([]byte(m[1]), &v); err != nil || len(v) == 0 {
				t.Errorf("%s: %v in\n%s", path, err, m[1])
			}
		}
	}
	if checked < 2 {
		t.Errorf("only %d blocks were looked at", checked)
	}
}

// TestMetricsThatThePagesName: an alert asks for a metric that there is.
func TestMetricsThatThePagesName(t *testing.T) {
	all := pages(t)
	for path, text := range all {
		for _, name := range regexp.MustCompile(`loopmesh_[a-z_]+[a-z]`).FindAllString(text, -1) {
			if path != "docs/metrics.md" && !strings.Contains(all["docs/metrics.md"], "`"+name+"`") {
				t.Errorf("%s speaks of %s, which there is not", path, name)
			}
		}
	}
}

func TestWordsOfAShell(t *testing.T) {
	got := strings.Join(words(`func call demo.add '[1, 2]' --on "n1/io-0" | cat # x`), "!")
	if got != "func!call!demo.add![1, 2]!--on!n1/io-0" {
		t.Error(got)
	}
}
