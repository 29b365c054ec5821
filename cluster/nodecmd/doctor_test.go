package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

// fit is a machine on which nothing is wrong, and on which no node runs.
func fit() *machine {
	return &machine{
		system: "linux", now: func() time.Time { return noon }, env: func(string) string { return "" },
		read: func(path string) (string, error) {
			text, known := map[string]string{"/proc/sys/kernel/osrelease": "6.18.1-cloud\n", "/sys/fs/cgroup/memory.max": "max\n", "/proc/sys/net/core/somaxconn": "4096\n"}[path]
			if !known {
				return "", os.ErrNotExist
			}
			return text, nil
		},
		limit:   func() (uint64, uint64, error) { return 65536, 1 << 20, nil },
		synced:  func() (bool, error) { return true, nil },
		disk:    func(string) (uint64, bool, error) { return 5 << 30, false, nil },
		mayUse:  func(string) error { return nil },
		listen:  func(string) error { return nil },
		dial:    func(context.Context, string) error { return nil },
		running: func(context.Context, string) (string, bool) { return "", false },
		socket:  func() error { return nil },
	}
}

// reading is fit with another text in one file; "": the file is not there.
func reading(path, text string) func(m *machine, _ *startOptions) {
	return func(m *machine, _ *startOptions) {
		before := m.read
		m.read = func(p string) (string, error) {
			switch {
			case p != path:
				return before(p)
			case text == "":
				return "", os.ErrNotExist
			}
			return text, nil
		}
	}
}

// examined are the flags of a voter with everything.
func examined(t *testing.T, valid time.Duration) *startOptions {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "n1", Voter: true, Valid: valid}, keys.Node{Name: "n2", Valid: valid}); err != nil {
		t.Fatal(err)
	}
	o := newStartOptions(newProgram(demoOptions))
	o.name, o.listen, o.adminListen, o.services = "n1", "10.0.0.1:4222", "127.0.0.1:7070", []string{"127.0.0.1:7001"}
	o.server = serverOptions{folder: dir, storeDir: "/data", routes: []string{"10.0.0.1:6222", "10.0.0.2:6222", "10.0.0.3:6222"}, routeListen: "10.0.0.1:6222"}
	return o
}

const years = 20 * 365 * 24 * time.Hour

// troubles are the states that doctor has to find: what is done to a fit machine or its
// flags, and the one line that is not OK then.
var troubles = []struct {
	name string
	do   func(m *machine, o *startOptions)
	want string
}{
	{"another system", func(m *machine, _ *startOptions) { m.system = "darwin" }, "FAIL system loops run on Linux, this is darwin"},
	{"an old kernel", reading("/proc/sys/kernel/osrelease", "5.3.18"), "FAIL system Linux 5.3.18 cannot wait"},
	{"no kernel version", reading("/proc/sys/kernel/osrelease", "odd"), `WARN system the kernel's version cannot be read from "odd"`},
	{"hardly any descriptors", func(m *machine, _ *startOptions) { m.limit = func() (uint64, uint64, error) { return 255, 255, nil } }, "FAIL descriptors a process may open 255 files"},
	{"few descriptors", func(m *machine, _ *startOptions) { m.limit = func() (uint64, uint64, error) { return 1024, 4096, nil } }, "WARN descriptors a process may open 1024 files and connections (up to 4096 when it asks)"},
	{"no limit to read", func(m *machine, _ *startOptions) {
		m.limit = func() (uint64, uint64, error) { return 0, 0, errUnknownHere }
	}, "WARN descriptors the limit cannot be read"},
	{"a clock of long ago", func(m *machine, _ *startOptions) { m.now = func() time.Time { return time.Unix(0, 0).UTC() } }, "FAIL clock it says 1970-01-01"},
	{"a clock that drifts", func(m *machine, _ *startOptions) { m.synced = func() (bool, error) { return false, nil } }, "WARN clock nobody keeps it"},
	{"a clock nobody can tell of", func(m *machine, _ *startOptions) { m.synced = func() (bool, error) { return false, errUnknownHere } }, "WARN clock whether somebody keeps it cannot be read"},
	{"a container", reading("/sys/fs/cgroup/memory.max", "1073741824\n"), "WARN memory the process is killed above 1.0 GiB, and Go does not know it"},
	{"a short backlog", reading("/proc/sys/net/core/somaxconn", "128"), "WARN backlog 128 connections may wait"},
	{"no backlog to read", reading("/proc/sys/net/core/somaxconn", ""), "WARN backlog how many connections"},
	{"a socket folder of others", func(m *machine, _ *startOptions) { m.socket = func() error { return admin.ErrUntrusted } }, "FAIL admin socket admin socket is not trusted"},
	{"no keys", func(_ *machine, o *startOptions) { o.server.folder, o.server.insecure = "", true }, "WARN keys there are none, and --insecure lets everybody"},
	{"keys that others read", func(_ *machine, o *startOptions) {
		if err := os.Chmod(filepath.Join(o.server.folder, "nodes", "n1", "node.creds"), 0o644); err != nil {
			panic(err)
		}
	}, "FAIL keys "},
	{"keys of nobody", func(_ *machine, o *startOptions) { o.name = "n9" }, "FAIL keys "},
	{"keys of no voter", func(_ *machine, o *startOptions) { o.name = "n2" }, "FAIL keys those of node n2 are not those of a voter"},
	{"a store that is not ours", func(m *machine, _ *startOptions) { m.mayUse = func(string) error { return os.ErrPermission } }, "FAIL store /data cannot be used: permission denied"},
	{"a store nobody can tell of", func(m *machine, _ *startOptions) {
		m.disk = func(string) (uint64, bool, error) { return 0, false, errUnknownHere }
	}, "WARN store how much room /data has"},
	{"a full disk", func(m *machine, _ *startOptions) {
		m.disk = func(string) (uint64, bool, error) { return leastRoom - 1, false, nil }
	}, "FAIL store 64.0 MiB are free"},
	{"little room", func(m *machine, _ *startOptions) {
		m.disk = func(string) (uint64, bool, error) { return goodRoom / 2, false, nil }
	}, "WARN store 512.0 MiB are free"},
	{"a store in memory", func(m *machine, _ *startOptions) {
		m.disk = func(string) (uint64, bool, error) { return 5 << 30, true, nil }
	}, "WARN store /data lies in memory"},
	{"a port in use", func(m *machine, _ *startOptions) {
		m.listen = func(at string) error {
			if at == "127.0.0.1:7070" {
				return syscall.EADDRINUSE
			}
			return nil
		}
	}, "FAIL port --admin-listen 127.0.0.1:7070 cannot be taken: address already in use"},
	{"voters that are away", func(m *machine, _ *startOptions) {
		m.dial = func(_ context.Context, at string) error {
			if at == "10.0.0.1:6222" {
				return nil
			}
			return &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}
	}, "WARN reach --routes 2 of 3 cannot be reached: 10.0.0.2:6222 (connection refused), 10.0.0.3:6222 (connection refused)"},
	{"nobody to join", func(m *machine, o *startOptions) {
		o.server.routes, o.join = nil, []string{"10.0.0.1:4222"}
		m.dial = func(context.Context, string) error { return errors.New("timeout") }
	}, "FAIL reach --join none can be reached: 10.0.0.1:4222 (timeout)"},
	{"a NATS that is away", func(m *machine, o *startOptions) {
		o.server.routes, o.natsURL = nil, "nats://me:pw-hidden@10.0.0.9, nats://10.0.0.8:4333"
		m.dial = func(_ context.Context, at string) error {
			if at == "10.0.0.9:4222" {
				return errors.New("timeout")
			}
			return nil
		}
	}, "WARN reach --nats-url 1 of 2 cannot be reached: 10.0.0.9:4222 (timeout)"},
	{"a node of another version", func(m *machine, _ *startOptions) {
		m.running = func(context.Context, string) (string, bool) { return "v0.0.1", true }
	}, "WARN node n1 runs with version v0.0.1"},
}

// notOK are the lines that are not OK.
func notOK(all []diagnosis) []diagnosis {
	return slices.DeleteFunc(slices.Clone(all), func(d diagnosis) bool { return d.State == stateOK })
}

func TestEachTroubleIsFound(t *testing.T) {
	all := examine(context.Background(), fit(), examined(t, years))
	if bad := notOK(all); len(bad) != 0 || len(all) != 14 {
		t.Fatalf("nothing is wrong: %d lines, %+v", len(all), bad)
	}
	for _, c := range troubles {
		m, o := fit(), examined(t, years)
		c.do(m, o)
		bad := notOK(examine(context.Background(), m, o))
		if len(bad) != 1 {
			t.Errorf("%s: %+v", c.name, bad)
			continue
		}
		if got := bad[0].State + " " + bad[0].ID + " " + bad[0].Text; !strings.HasPrefix(got, c.want) || bad[0].Do == "" || strings.Contains(got, "pw-hidden") {
			t.Errorf("%s: %q do %q, want %q", c.name, got, bad[0].Do, c.want)
		}
	}
}

// Keys that end soon, and those that have ended, by the clock of the machine.
func TestKeysThatEnd(t *testing.T) {
	for valid, want := range map[time.Duration]string{time.Hour: "WARN keys those of node n1 expire in ", 29 * 24 * time.Hour: "WARN keys "} {
		m := fit()
		m.now = time.Now
		bad := notOK(examKeys(context.Background(), m, examined(t, valid)))
		if len(bad) != 1 || !strings.HasPrefix(bad[0].State+" "+bad[0].ID+" "+bad[0].Text, want) {
			t.Errorf("%v: %+v", valid, bad)
		}
		m.now = func() time.Time { return time.Now().Add(valid + time.Hour) }
		if bad := notOK(examKeys(context.Background(), m, examined(t, valid))); len(bad) != 1 || bad[0].State != stateFail || !strings.Contains(bad[0].Text, "expired") {
			t.Errorf("%v and over: %+v", valid, bad)
		}
	}
}

// The port of a node that runs is taken, by that node.
func TestPortsOfANodeThatRuns(t *testing.T) {
	m := fit()
	ours, _ := admin.Version()
	m.listen = func(string) error { return syscall.EADDRINUSE }
	m.running = func(_ context.Context, node string) (string, bool) { return ours, node == "n1" }
	all := examine(context.Background(), m, examined(t, years))
	if bad := notOK(all); len(bad) != 0 || !slices.ContainsFunc(all, func(d diagnosis) bool { return strings.HasSuffix(d.Text, "is taken, by node n1, which runs") }) {
		t.Errorf("%+v", all)
	}
}

func TestPageOfADoctor(t *testing.T) {
	m, o := fit(), newStartOptions(newProgram(demoOptions))
	o.name, o.listen, o.join = "n1", "none", []string{"10.0.0.1:4222", "10.0.0.2:4222"}
	m.limit = func() (uint64, uint64, error) { return 100, 100, nil }
	m.dial = func(_ context.Context, at string) error { return fmt.Errorf("no route\x1b[2J to %s", at) }
	m.running = func(context.Context, string) (string, bool) { return "v0.0.1", true }
	m.socket = func() error { return errors.New("no") }
	all := examine(context.Background(), m, o)
	for i := range all {
		if all[i].ID == "system" || all[i].ID == "node" {
			all[i].Text = "depends on the build"
		}
	}
	list := &admin.List[diagnosis]{Kind: "DiagnosisList", APIVersion: admin.APIVersion, Time: noon, Items: all}
	for _, format := range formats {
		cmd, out := printing()
		if err := showDiagnoses(cmd, &output{format: format}, list); err != nil || steers(out.String()) {
			t.Fatalf("%v %q", err, out)
		}
		golden(t, "doctor."+format, out.Bytes())
	}
	for strict, want := range map[bool]int{false: exitFalse, true: exitFalse} {
		if got := printError(io.Discard, newCheck(), fitness(all, strict)); got != want {
			t.Errorf("strict %v: %d", strict, got)
		}
	}
	warned := []diagnosis{{State: stateWarn}, {State: stateOK}}
	if printError(io.Discard, newCheck(), fitness(warned, false)) != exitOK || printError(io.Discard, newCheck(), fitness(warned, true)) != exitFalse {
		t.Error("a WARN counts with --strict only")
	}
}

// The real machine answers every question, whatever it says; and a real port that is
// taken, a real folder that cannot be used, are found.
func TestDoctorOfThisMachine(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	s := loopmesh("doctor", "-o", "jsonl")
	if s.code != exitOK && s.code != exitFalse || strings.Count(s.out, "\n") != 10 {
		t.Errorf("%+v", s)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = loopmesh("doctor", "--name", "n1", "--listen", taken.Addr().String(), "--store", file)
	if s.code != exitFalse || !strings.Contains(s.out, taken.Addr().String()+" cannot be taken") || !strings.Contains(s.out, "FAIL  store") || !strings.Contains(s.errs, "this machine is not fit: ") {
		t.Errorf("%+v", s)
	}
	store := filepath.Join(t.TempDir(), "new", "store")
	if s := loopmesh("doctor", "--name", "n1", "--store", store, "--join", taken.Addr().String()); !strings.Contains(s.out, "reach --join") || strings.Contains(s.out, "FAIL  reach") || strings.Contains(s.out, "FAIL  store") {
		t.Errorf("%+v", s)
	}
	if left, err := os.ReadDir(store); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	for args, code := range map[string]int{"doctor --loops 1000": exitUsage, "doctor -o xml": exitUsage, "doctor --config /nowhere": exitConfig} {
		if s := loopmesh(strings.Fields(args)...); s.code != code || s.out != "" {
			t.Errorf("%s: %+v", args, s)
		}
	}
	t.Run("a node that runs is asked for its version", func(t *testing.T) {
		village(t)
		if s := loopmesh("doctor", "--name", "n2"); !strings.Contains(s.out, "n2 runs, with this version") {
			t.Errorf("%+v", s)
		}
	})
}
