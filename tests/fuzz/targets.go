package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// target is one fuzz target.
type target struct {
	pkg, name string // ./internal/wire, FuzzDecode
}

func (t target) String() string { return t.pkg + " " + t.name }

// targets lists those that have one of the words, separated by |, in their package or name.
func targets(ctx context.Context, root, words string) (all []target, err error) {
	packages, err := withTargets(root, words)
	if err != nil {
		return nil, err
	}
	for _, pkg := range packages {
		cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-list", "^Fuzz", pkg)
		cmd.Dir = root
		text, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("the targets of %s: %w: %s", pkg, err, text)
		}
		for line := range strings.Lines(string(text)) {
			t := target{pkg, strings.TrimSpace(line)}
			if strings.HasPrefix(t.name, "Fuzz") && t.has(words) {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

func (t target) has(words string) bool {
	for word := range strings.SplitSeq(words, "|") {
		if strings.Contains(t.String(), word) {
			return true
		}
	}
	return false
}

// declared is a fuzz target in a source.
var declared = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(`)

// withTargets are the packages one of whose test files declares a target with one of the
// words. Only these are asked what they have: to build the tests of all others takes minutes.
func withTargets(root, words string) (packages []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name() == "bin" || d.Name() == "testdata" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() && path != root && isFile(filepath.Join(path, "go.mod")): // another module
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		pkg := "./" + filepath.ToSlash(folder)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			if (target{pkg, string(m[1])}).has(words) && !slices.Contains(packages, pkg) {
				packages = append(packages, pkg)
			}
		}
		return err
	})
	return packages, err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
