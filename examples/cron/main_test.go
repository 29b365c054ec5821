package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const argsVariable = "LOOPMESH_EXAMPLE_ARGS"

// TestMain lets the test binary be the program, so that it can be killed.
func TestMain(m *testing.M) {
	if args := os.Getenv(argsVariable); args != "" {
		if err := run(context.Background(), strings.Split(args, "\x1f"), os.Stdout); err != nil {
			fmt.Println(err)
		}
		return
	}
	os.Exit(m.Run())
}

// spawn starts the program and returns what it says first, and a kill -9.
func spawn(t *testing.T, args ...string) (said string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env, cmd.Stderr = append(os.Environ(), argsVariable+"="+strings.Join(args, "\x1f")), os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill() // gone already is as good
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	said, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %q, %v", args, said, err)
	}
	return strings.TrimSpace(said), kill
}

// made is how many reports the schedule has made; -1 while nobody answers. A time that
// was reported twice ends the test.
func made(t *testing.T, at, database string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, []string{"show", at, database}, &out); err != nil {
		return -1
	}
	line := strings.TrimSpace(out.String())
	if line == "" {
		return 0 // not stored yet
	}
	var name, rule, every, state, next string
	var rows, times int
	if _, err := fmt.Sscanf(line, "%s %s %s %s next %s made %d for %d", &name, &every, &rule, &state, &next, &rows, &times); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if rows != times {
		t.Fatalf("%d reports for %d times", rows, times)
	}
	return rows
}

func TestItGoesOnWhateverIsKilled(t *testing.T) {
	folder, database := t.TempDir(), filepath.Join(t.TempDir(), "reports.db")
	said, killStore := spawn(t, "store", folder)
	at := strings.TrimPrefix(said, "join: nats://")
	_, killFirst := spawn(t, "work", "w1", at, database)
	if err := run(t.Context(), []string{"add", at, "often", "@every 100ms"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	last := 0
	goesOn := func(what string) {
		t.Helper()
		for end := time.Now().Add(60 * time.Second); ; {
			if n := made(t, at, database); n >= last+2 {
				last = n
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: no more reports after %d", what, last)
			}
		}
	}
	goesOn("at first")
	spawn(t, "work", "w2", at, database)
	killFirst()
	goesOn("after the worker was killed")
	killStore()
	spawn(t, "store", folder, at)
	goesOn("after the store was killed")
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	for _, args := range [][]string{{}, {"work"}, {"add", "127.0.0.1:1"}, {"show", "127.0.0.1:1"}, {"work", "w1", "127.0.0.1:1", "/no/such/folder/reports.db"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
