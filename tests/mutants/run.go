package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// outcome is what became of one mutant.
type outcome uint8

const (
	noticed  outcome = iota // a test failed
	survived                // all tests passed
	broken                  // the row is wrong: stale, or it does not compile
)

// buildLimit is how long a mutant may take to compile, beside the time of its tests.
const buildLimit = 5 * time.Minute

// try runs the row's tests on its mutant. detail is the test that failed, or why the
// row is broken.
func (r *row) try(ctx context.Context, root string) (what outcome, detail string) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return broken, err.Error()
	}
	defer os.RemoveAll(dir)
	overlay, err := r.overlay(root, dir)
	if err != nil {
		return broken, err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, r.limit+buildLimit)
	defer cancel()
	args := append([]string{"test", "-overlay=" + overlay, "-count=1", "-failfast", "-vet=off", "-timeout=" + r.limit.String()}, r.test...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	text := string(out)
	var exit *exec.ExitError
	switch {
	case err == nil && strings.Count(text, "ok  \t") == strings.Count(text, "[no tests to run]"):
		return broken, "its -run names no test"
	case err == nil:
		return survived, ""
	case !errors.As(err, &exit) || ctx.Err() != nil && exit.ExitCode() < 0:
		return broken, fmt.Sprintf("%v\n%s", err, text)
	case strings.Contains(text, "[build failed]"), strings.Contains(text, "[setup failed]"):
		return broken, "it does not compile:\n" + text
	}
	return noticed, firstFailure(text)
}

// overlay writes the mutant and the file that tells the go command of it.
func (r *row) overlay(root, dir string) (path string, err error) {
	original := filepath.Join(root, filepath.FromSlash(r.file))
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	changed, err := r.apply(string(text))
	if err != nil {
		return "", err
	}
	mutant := filepath.Join(dir, filepath.Base(original))
	if err := os.WriteFile(mutant, []byte(changed), 0o600); err != nil {
		return "", err
	}
	raw, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutant}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, raw, 0o600)
}

// firstFailure names the test that failed first.
func firstFailure(out string) string {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "--- FAIL: "):
			return strings.TrimPrefix(line, "--- FAIL: ")
		case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "):
			return line
		}
	}
	return "a failure outside of any test"
}
