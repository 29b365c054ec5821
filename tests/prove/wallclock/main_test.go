package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTheOverlayFitsThisGo: a source that is not as it has to be is refused, and the one of
// this version of Go is so.
func TestTheOverlayFitsThisGo(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(dir, "time.txt"))
	if err != nil || strings.Count(string(source), "wallStep") != 4 {
		t.Error(strings.Count(string(source), "wallStep"), err)
	}
	if _, err := step("package time\n"); err == nil {
		t.Error("a source without Now was taken")
	}
	if _, err := step(string(source) + "\nfunc Now() Time {\n" + reading); err == nil {
		t.Error("a source with two of them was taken")
	}
}

const program = `package main

import (
	"fmt"
	"time"
)

func main() {
	begin := time.Now()
	time.StepWall(-time.Hour)
	behind := time.Now()
	timer := time.NewTimer(time.Millisecond)
	<-timer.C
	fmt.Println(begin.Round(0).Sub(behind.Round(0)).Round(time.Minute), behind.Sub(begin) < time.Minute, time.Until(begin) < 0)
	time.StepWall(0)
	fmt.Println(time.Now().Round(0).Sub(begin.Round(0)).Round(time.Minute))
}
`

// TestAStep: the wall clock goes an hour back and forward, and neither monotonic differences
// nor timers notice.
func TestAStep(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(dir, "main.go")
	if err := os.WriteFile(main, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "run", "-overlay", filepath.Join(dir, "overlay.json"), main).CombinedOutput()
	if want := "1h0m0s true true\n0s\n"; err != nil || string(out) != want {
		t.Errorf("%s, %v", out, err)
	}
}
