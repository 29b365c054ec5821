package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// groupParent is a control group of this test that it may write, and the controllers that
// its groups can have. On a machine without one it says why.
func groupParent(t *testing.T) (parent string, controllers []string, err error) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.New("no cgroup2 is mounted")
	for _, line := range strings.Split(string(mounts), "\n") {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "cgroup2" {
			continue
		}
		if parent, err = os.MkdirTemp(f[1], "loopmesh-test-"); err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := syscall.Rmdir(parent); err != nil {
				t.Errorf("groups are left: %v", err)
			}
		})
		text, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if err != nil {
			t.Fatal(err)
		}
		return parent, strings.Fields(string(text)), nil
	}
	return "", nil, err
}

// offering is n1 to n3, of which n2 offers these profiles.
func offering(t *testing.T, profiles ...process.Profile) *clustertest.Cluster {
	return clustertest.New(t, 3, func(name string, cfg *cluster.Config) {
		cfg.Allow = []string{"spawn:*"}
		if name == "n2" {
			cfg.Prepare = func(_ context.Context, n *cluster.Node) error { return process.Offer(n, profiles...) }
		}
	})
}

// runs reports whether a process is there and is more than a zombie that waits for its parent.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// runaway starts a process in a session of its own, says its number and goes on, or ends.
func runaway(name, then string, g process.Group) process.Profile {
	return process.Profile{Name: name, Argv: []string{"/bin/sh", "-c", "setsid sh -c 'echo $$; exec sleep 1000' & " + then}, Group: g, Orphan: process.Kill}
}

// TestAControlGroupEndsWhole: whoever left the session ends with the child, whether that is
// killed, ends by itself or is closed, and the folders of the groups go. On a machine where
// this process may not make control groups, nothing starts.
func TestAControlGroupEndsWhole(t *testing.T) {
	parent, controllers, why := groupParent(t)
	if why != nil {
		t.Logf("no control group can be made here: %v", why)
		parent = "/sys/fs/cgroup"
	}
	g := process.Group{Parent: parent}
	if slices.Contains(controllers, "pids") {
		g.Processes = 50
	}
	c := offering(t, runaway("waits", "exec sleep 1000", g), runaway("ends", "read line; exit 7", g))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := func(profile string) (p *process.Process, pid int) {
		t.Helper()
		p, err := process.Start(ctx, c.Node("n1"), process.Command{Node: "n2", Profile: profile})
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(p.Stdout().Reader(ctx)).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil || !runs(pid) {
			t.Fatalf("%q: %v", line, err)
		}
		in, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil || !strings.Contains(string(in), fmt.Sprintf("/loopmesh-n2-%s-%d\n", profile, p.ID())) {
			t.Errorf("it is in %q, %v", in, err)
		}
		return p, pid
	}
	if why != nil {
		if _, err := process.Start(ctx, c.Node("n1"), process.Command{Node: "n2", Profile: "waits"}); !errors.Is(err, process.ErrNoGroup) {
			t.Errorf("it started without its group: %v", err)
		}
		return
	}
	killed, a := begin("waits")
	ended, b := begin("ends")
	closed, d := begin("waits")
	if g.Processes > 0 {
		if most, err := os.ReadFile(filepath.Join(parent, fmt.Sprintf("loopmesh-n2-waits-%d", killed.ID()), "pids.max")); string(most) != "50\n" {
			t.Errorf("pids.max is %q, %v", most, err)
		}
	}
	if err := killed.Signal(ctx, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if e, err := killed.Wait(ctx); err != nil || e.Signal != int(syscall.SIGKILL) {
		t.Error(e, err)
	}
	if err := ended.Write(ctx, []byte("go\n")); err != nil {
		t.Error(err)
	}
	if e, err := ended.Wait(ctx); err != nil || e.Code != 7 {
		t.Error(e, err)
	}
	closed.Close()
	if _, err := closed.Wait(ctx); !errors.Is(err, process.ErrEnded) {
		t.Error(err)
	}
	for _, pid := range []int{a, b, d} {
		until(t, "it has ended, though it left the session", func() bool { return !runs(pid) })
	}
	until(t, "the groups are gone", func() bool {
		left, err := filepath.Glob(filepath.Join(parent, "loopmesh-*"))
		return err == nil && len(left) == 0
	})
}

// TestWithoutAControlGroupNothingStarts: the folder is missing, is none of cgroup2, or lacks a
// controller; the caller hears what is missing.
func TestWithoutAControlGroupNothingStarts(t *testing.T) {
	plain, ran := t.TempDir(), filepath.Join(t.TempDir(), "ran")
	says := map[string]string{"missing": "/nowhere", "plain": "is no folder of the cgroup v2 hierarchy"}
	argv := []string{"/bin/sh", "-c", "echo > " + ran}
	profiles := []process.Profile{
		{Name: "missing", Argv: argv, Group: process.Group{Parent: plain + "/nowhere"}},
		{Name: "plain", Argv: argv, Group: process.Group{Parent: plain, Processes: 3}},
	}
	parent, controllers, why := groupParent(t)
	if why == nil && !slices.Contains(controllers, "memory") {
		profiles = append(profiles, process.Profile{Name: "poor", Argv: argv, Group: process.Group{Parent: parent, Memory: 1 << 20}})
		says["poor"] = "has not the controller memory"
	}
	c := offering(t, profiles...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, text := range says {
		_, err := process.Start(ctx, c.Node("n1"), process.Command{Node: "n2", Profile: name})
		if !errors.Is(err, process.ErrNoGroup) || errors.Is(err, process.ErrNotStarted) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := process.Counted(c.Node("n2")); s.Running != 0 || s.Started != 0 || int(s.Refused) != len(says) {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("it ran")
	}
	if left, _ := filepath.Glob(filepath.Join(plain, "*")); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
}

// TestGroupsThatAreNone are refused when they are offered.
func TestGroupsThatAreNone(t *testing.T) {
	for text, g := range map[string]process.Group{
		"no parent":         {Memory: 1},
		"no absolute path":  {Parent: "loopmesh"},
		"has . or .. in it": {Parent: "/sys/fs/cgroup/../x"},
		"is negative":       {Parent: "/sys/fs/cgroup", Processes: -1},
		"the cpu of group":  {Parent: "/sys/fs/cgroup", CPU: 0.001},
	} {
		if err := process.Check(process.Profile{Name: "x", Argv: []string{"/bin/true"}, Group: g}); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", g, err)
		}
	}
	if err := process.Check(process.Profile{Name: "x", Argv: []string{"/bin/true"}, Group: process.Group{Parent: "/sys/fs/cgroup/x", Memory: 1 << 20, Processes: 9, CPU: 0.5}}); err != nil {
		t.Error(err)
	}
}
