//go:build foreign

package conformance

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var record = flag.Bool("record", false, "write the golden traces from what python3 does now")

// pythonTime bounds one golden program; they take well under a second.
const pythonTime = 30 * time.Second

// TestCPythonStillDoesIt runs the golden programs under the python3 of this
// machine: the recordings are what CPython does, and stay so.
func TestCPythonStillDoesIt(t *testing.T) {
	major, minor, patch := pythonVersion(t)
	folder, _, _ := certificates(t)
	for _, program := range programs(t) {
		t.Run(program, func(t *testing.T) {
			out := python(t, program+".py", folder)
			if *record {
				write(t, program, fmt.Sprintf("# CPython %d.%d.%d\n%s", major, minor, patch, out))
			}
			got := strings.Split(strings.TrimSpace(out), "\n")
			newer := func(d departure) bool {
				return d.python != [2]int{} && (d.python[0] < major || d.python[0] == major && d.python[1] <= minor)
			}
			if want := depart(t, program, recorded(t, program), newer); !slices.Equal(got, want) {
				t.Errorf("CPython %d.%d.%d does\n%q, recorded is\n%q", major, minor, patch, got, want)
			}
		})
	}
}

// python runs a program of the golden folder and gives what it prints.
// Anything it warns about is an error.
func python(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pythonTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", append([]string{"-B", "-E", "-X", "dev", "-W", "error"}, args...)...)
	cmd.Dir = "golden"
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("python3 %s: %v\n%s", args, err, errs.String())
	}
	return string(out)
}

func pythonVersion(t *testing.T) (major, minor, patch int) {
	t.Helper()
	out := python(t, "-c", "import sys; print(*sys.version_info[:3])")
	if _, err := fmt.Sscan(out, &major, &minor, &patch); err != nil {
		t.Fatalf("python3 says it is %q: %v", out, err)
	}
	return major, minor, patch
}

func write(t *testing.T, program, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("golden", program+".trace"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
