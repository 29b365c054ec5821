// Command wallclock writes a build overlay in which the wall clock of a process can be
// stepped while it runs:
//
//	go run ./tests/prove/wallclock bin/wallclock
//	go test -overlay bin/wallclock/overlay.json -tags wallclock ./tests/prove …
//
// Why an overlay: Go reads the wall clock without a system call, so nothing between the
// program and the kernel can change what it reads; to set the clock of the machine would
// disturb all that runs on it; and a time namespace has no wall clock of its own. Why of
// package time, and not of a clock of ours: the NATS server and the libraries in the process
// have to see the step, too.
//
// The overlay adds time.StepWall to the standard library. Monotonic readings, timers and
// everything that is measured by them stay as they are, as when somebody sets the clock.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: wallclock FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "wallclock:", err)
		os.Exit(1)
	}
}

// write makes the overlay in a folder: the changed source, and overlay.json.
func write(dir string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	stepped, err := step(string(source))
	if err != nil {
		return fmt.Errorf("%s: %w", original, err)
	}
	if dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return err
	}
	changed := filepath.Join(dir, "time.txt") // no .go: what looks at all sources of a tree must not take it for one
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(changed, []byte(stepped), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644)
}

// reading is the line in which time.Now reads the clock.
const reading = "\tsec, nsec, mono := runtimeNow()\n"

// added is the clock that can be stepped. Its counter is of the standard library, which
// this file is a part of then.
const added = `
// wallStep is how many seconds the wall clock of this process is ahead.
var wallStep atomic.Int64

// StepWall sets how far the wall clock of this process is ahead of the machine's, in whole
// seconds. Monotonic times and timers are not changed.
func StepWall(ahead Duration) { wallStep.Store(int64(ahead / Second)) }
`

// step changes the source of package time: Now adds the step to what it has read.
func step(source string) (string, error) {
	for _, part := range []string{reading, "func Now() Time {\n" + reading, "\nimport (\n"} {
		if n := strings.Count(source, part); n != 1 {
			return "", fmt.Errorf("this version of Go has %q %d times: the overlay does not fit it", part, n)
		}
	}
	source = strings.Replace(source, "\nimport (\n", "\nimport (\n\t\"sync/atomic\"\n", 1)
	return strings.Replace(source, reading, reading+"\tsec += wallStep.Load()\n", 1) + added, nil
}
