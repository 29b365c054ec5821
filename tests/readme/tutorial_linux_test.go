package readme

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// chapters are the pages of the tutorial in their order.
func chapters(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("..", "..", "docs", "tutorial", "[0-9]-*.md"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	goBlock   = regexp.MustCompile("(?s)```go\n(package .*?)```")
	textBlock = regexp.MustCompile("(?s)prints:\n\n```text\n(.*?)```")
)

// TestTheTutorial builds and runs the program of each chapter and compares what it prints
// with what the page says. The last chapter is a test, which passes.
func TestTheTutorial(t *testing.T) {
	all := chapters(t)
	if len(all) != 8 {
		t.Fatalf("the tutorial has %d chapters, want 8", len(all))
	}
	for _, page := range all {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			raw, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			code, says := goBlock.FindAllStringSubmatch(string(raw), -1), textBlock.FindAllStringSubmatch(string(raw), -1)
			if len(code) != 1 || len(says) != 1 {
				t.Fatalf("%d programs and %d outputs, want one of each", len(code), len(says))
			}
			dir := t.TempDir()
			if strings.HasPrefix(code[0][1], "package main\n") {
				runsAs(t, dir, code[0][1], says[0][1])
				return
			}
			file := filepath.Join(dir, "chat_test.go")
			if err := os.WriteFile(file, []byte(code[0][1]), 0o600); err != nil {
				t.Fatal(err)
			}
			if out := goTool(t, "test", "-count=1", file); !strings.HasPrefix(out, strings.TrimSpace(says[0][1])+" ") && !strings.HasPrefix(out, strings.TrimSpace(says[0][1])+"\t") {
				t.Errorf("it prints\n%s", out)
			}
		})
	}
}

// runsAs builds a program, runs it, and compares what it prints.
func runsAs(t *testing.T, dir, code, want string) {
	t.Helper()
	file, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	goTool(t, "build", "-o", program, file)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || string(out) != want {
		t.Errorf("%v, it prints\n%sand the page says\n%s%s", err, out, want, errs.String())
	}
}
