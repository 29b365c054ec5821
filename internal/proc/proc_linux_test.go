package proc

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const asChild = "as-child"

// TestMain makes the test binary a program: it exits with a code, or hangs.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == asChild {
		if os.Args[2] == "hang" {
			_, _ = os.Stdin.Read(make([]byte, 1))
		}
		syscall.Exit(int(os.Args[2][0] - '0'))
	}
	os.Exit(m.Run())
}

// start starts the test binary with a stdin that never ends.
func start(t *testing.T, what string, slow bool) *Child {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	c, err := Start(Spec{Path: self, Args: []string{self, asChild, what}, Env: os.Environ(), Files: []int{int(r.Fd()), None, 2}, Slow: slow})
	must(t, err)
	must(t, r.Close())
	t.Cleanup(func() { _ = w.Close() })
	return c
}

func TestChild(t *testing.T) {
	for name, slow := range map[string]bool{"pidfd": false, "no pidfd": true} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "7", slow)
			if (c.FD() == None) != slow || c.PID() <= 1 {
				t.Error(c.FD(), c.PID())
			}
			c.Wait()
			must(t, c.Signal(syscall.SIGKILL)) // a zombie takes it
			if code, done, err := c.Reap(); code != 7 || !done || err != nil {
				t.Error(code, done, err)
			}
			if err := unix.Kill(c.PID(), 0); err != unix.ESRCH {
				t.Error("a zombie is left:", err)
			}

			c = start(t, "hang", slow)
			if c.WaitFor(20 * time.Millisecond) {
				t.Error("it ended")
			}
			if _, done, err := c.Reap(); done || err != nil {
				t.Error(done, err)
			}
			must(t, c.Signal(syscall.SIGTERM))
			if !c.WaitFor(20 * time.Second) {
				t.Error("it lives")
			}
			if code, done, err := c.Reap(); code != -15 || !done || err != nil {
				t.Error(code, done, err)
			}

			c = start(t, "3", slow)
			_, err := unix.Wait4(c.PID(), nil, 0, nil)
			must(t, err)
			c.Wait()
			if _, done, err := c.Reap(); !done || !errors.Is(err, ErrStolen) || c.FD() != None {
				t.Error(done, err, c.FD())
			}
		})
	}
}

func TestFind(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(other, "plain"), nil, 0o700))
	must(t, os.WriteFile(filepath.Join(other, "only"), nil, 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "only"), 0o700))
	t.Chdir(other)
	for _, c := range []struct {
		name, path, want string
		err              error
	}{
		{"only", dir + ":" + other, filepath.Join(other, "only"), nil},
		{"plain", dir + ":" + other, filepath.Join(other, "plain"), nil},
		{"plain", dir, "", syscall.EACCES},
		{"missing", dir + ":" + other, "", syscall.ENOENT},
		{"only", ".:", "", syscall.ENOENT}, // the current folder does not count
		{"only", "", "", syscall.ENOENT},
		{"./only", dir, "./only", nil},
		{"/no/where", dir, "/no/where", nil},
	} {
		got, err := Find(c.name, []string{"PATH=/first", "OTHER=1", "PATH=" + c.path})
		if got != c.want || err != c.err {
			t.Errorf("%s in %q: %q, %v", c.name, c.path, got, err)
		}
	}
	if got, err := Find("sh-that-is-not-there", nil); got != "" || err != syscall.ENOENT {
		t.Error(got, err)
	}
}

func TestStartExplains(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		spec Spec
		want error
	}{
		{Spec{Path: "/no/where", Args: []string{"x"}}, syscall.ENOENT},
		{Spec{Path: file, Args: []string{"x"}}, syscall.EACCES},
		{Spec{Path: "/bin/sh", Args: []string{"x"}, Dir: file}, syscall.ENOTDIR},
		{Spec{Path: "/bin/sh", Args: []string{"x"}, Dir: "/no/where"}, syscall.ENOENT},
	} {
		_, err := Start(c.spec)
		var path *os.PathError
		if !errors.Is(err, c.want) || !errors.As(err, &path) {
			t.Errorf("%v: %v", c.spec, err)
		}
	}
}
