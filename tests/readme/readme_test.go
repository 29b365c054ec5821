package readme

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// patience is long: the first build of a program links the NATS server.
const patience = 5 * time.Minute

var block = regexp.MustCompile("(?s)```go\n(package main\n.*?)```")

// programs gives the whole programs of README.md.
func programs(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	return out
}

// goTool runs the go tool at the root of the module.
func goTool(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestProgramsOfTheReadme(t *testing.T) {
	all := programs(t)
	if len(all) != 2 {
		t.Fatalf("README.md has %d whole programs, this test knows 2: an echo server and two nodes", len(all))
	}
	for i, name := range []string{"echo", "nodes"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(file, []byte(all[i]), 0o600); err != nil {
				t.Fatal(err)
			}
			program := filepath.Join(filepath.Dir(file), "program")
			goTool(t, "build", "-o", program, file)
			if name == "echo" {
				return // it serves until it is interrupted: TestTheEchoServerOfTheReadme
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			out, err := exec.CommandContext(ctx, program).CombinedOutput()
			if err != nil || string(out) != "1 + 2 = 3\n" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
