package nodecmd

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command has a page, which names its flags and is in order for man where there
// is one.
func TestManualPages(t *testing.T) {
	dir := t.TempDir()
	if s := loopmesh("man", dir); s.code != exitOK || s.errs != "" || !strings.Contains(s.out, "pages in ") {
		t.Fatalf("%+v", s)
	}
	walk(newRoot(newProgram(demoOptions), io.Discard, io.Discard), func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() && cmd.HasParent() || cmd.Name() == "help" {
			return
		}
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(page), ".TH") || !strings.Contains(string(page), cmd.Short) {
			t.Errorf("%s: %.200q", name, page)
		}
	})
	start, err := os.ReadFile(filepath.Join(dir, "loopmesh-start.1"))
	if err != nil || !strings.Contains(string(start), `admin-token-file`) {
		t.Errorf("%v: %.200q", err, start)
	}
	if man, err := exec.LookPath("man"); err == nil {
		if out, err := exec.Command(man, "--warnings", "-l", filepath.Join(dir, "loopmesh-start.1")).CombinedOutput(); err != nil || !strings.Contains(string(out), "SYNOPSIS") {
			t.Errorf("%v: %.300s", err, out)
		}
	} else {
		t.Log("there is no man here to read a page with")
	}
}

func TestNoFolderForThePages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(file, "no"), file} {
		if s := loopmesh("man", dir); s.code != exitUsage || s.out != "" {
			t.Errorf("%s: %+v", dir, s)
		}
	}
	if s := loopmesh("man", "/proc"); s.code != exitFailed || s.out != "" {
		t.Errorf("%+v", s)
	}
}
