package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

// Whether a machine is fit for a node with a certain configuration. Everything that is
// looked at is read through machine, so that a test can make each of the states that are
// found: nobody can fill a disk or set a clock wrong for a test.
//
// Three answers. FAIL: the node does not start like this, or not for long. WARN: it starts,
// and something will go wrong under load or some day. OK: looked at and good. What cannot
// be looked at on a system is a WARN that says so: an absent line would read as a good one.

// It has no code, unlike a finding of check: what is wrong with a machine is in no event and no
// error of a node, and the advice stands in the line itself.
// diagnosis is one line.
type diagnosis struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"`
}

// States of a diagnosis.
const (
	stateOK   = "OK"
	stateWarn = "WARN"
	stateFail = "FAIL"
)

// Order of the page: what the kernel gives, then what the configuration names on this machine,
// then who is reached from it. A person works down the page, and what is above may be the
// reason for what is below.
// machine is what doctor reads. Owned by the run that made it; the functions may be called
// once each and one after another.
type machine struct {
	system  string // linux, darwin, …
	now     func() time.Time
	read    func(path string) (string, error) // of /proc, /sys and small files
	limit   func() (soft, hard uint64, err error)
	synced  func() (bool, error) // the clock is kept by somebody
	disk    func(dir string) (free uint64, inMemory bool, err error)
	mayUse  func(dir string) error // make and write files there
	listen  func(address string) error
	dial    func(ctx context.Context, address string) error
	running func(ctx context.Context, node string) (version string, lives bool)
	env     func(name string) string
	socket  func() error // the folder of the admin sockets
}

// errUnknownHere: the system does not tell.
var errUnknownHere = errors.New("this system does not tell")

// exams are all that is looked at, in the order of the page.
var exams = []func(context.Context, *machine, *startOptions) []diagnosis{
	examSystem, examDescriptors, examClock, examMemory, examBacklog, examSocket, examKeys, examStore, examListen, examReach, examRunning,
}

// Every exam is made, also after one that has failed: whoever mends a machine wants the whole
// list, and not one item after each attempt.
// examine looks at everything.
func examine(ctx context.Context, m *machine, o *startOptions) (out []diagnosis) {
	for _, e := range exams {
		out = append(out, e(ctx, m, o)...)
	}
	return out
}

func lineOK(id, format string, args ...any) diagnosis {
	return diagnosis{ID: id, State: stateOK, Text: fmt.Sprintf(format, args...)}
}

// lineWarn and lineFail take what to do before the text, which has the arguments.
func lineWarn(id, do, format string, args ...any) diagnosis {
	return diagnosis{ID: id, State: stateWarn, Text: fmt.Sprintf(format, args...), Do: do}
}

func lineFail(id, do, format string, args ...any) diagnosis {
	return diagnosis{ID: id, State: stateFail, Text: fmt.Sprintf(format, args...), Do: do}
}

// Older ones run loops and connections. They are refused all the same, and not only warned
// about: children are a part of what every program may use, and fail there at their end.
// leastKernel is the first Linux in which a child process can be waited for through a
// descriptor (pidfd).
var leastKernel = [2]int{5, 4}

// examSystem: loops run on Linux, and children need a newer one.
func examSystem(_ context.Context, m *machine, _ *startOptions) []diagnosis {
	const id = "system"
	version, goVersion := admin.Version()
	if m.system != "linux" {
		return []diagnosis{lineFail(id, "run nodes on Linux; the commands that look at nodes work here", "loops run on Linux, this is %s", m.system)}
	}
	release, err := m.read("/proc/sys/kernel/osrelease")
	release = strings.TrimSpace(release)
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil || n != 2 {
		return []diagnosis{lineWarn(id, "look with uname -r: it should be 5.4 or newer", "the kernel's version cannot be read from %q", release)}
	}
	if slices.Compare([]int{major, minor}, leastKernel[:]) < 0 {
		return []diagnosis{lineFail(id, "use Linux 5.4 or newer", "Linux %s cannot wait for child processes as loops do", release)}
	}
	return []diagnosis{lineOK(id, "Linux %s, program %s, %s", release, version, goVersion)}
}

// Each connection takes one descriptor. The default of most systems, 1024, is a limit on
// connections that nobody chose.
const (
	fewDescriptors   = 256
	goodDescriptors  = 8192
	descriptorAdvice = "raise it with LimitNOFILE= in the unit, or 'ulimit -n 65536' in the shell that starts the node"
)

// examDescriptors reads the limit of this process. A service has one of its own, from its
// unit; doctor has to be run as the service runs to see that (systemd-run, or ExecStartPre).
func examDescriptors(_ context.Context, m *machine, _ *startOptions) []diagnosis {
	const id = "descriptors"
	soft, hard, err := m.limit()
	switch {
	case err != nil:
		return []diagnosis{lineWarn(id, "look with ulimit -n", "the limit cannot be read: %v", err)}
	case soft < fewDescriptors:
		return []diagnosis{lineFail(id, descriptorAdvice, "a process may open %d files and connections: a node needs some hundred for itself", soft)}
	case soft < goodDescriptors:
		return []diagnosis{lineWarn(id, descriptorAdvice, "a process may open %d files and connections (up to %d when it asks)", soft, hard)}
	}
	return []diagnosis{lineOK(id, "a process may open %d files and connections", soft)}
}

// longAgo is before this program was written: a clock that says so has lost its battery.
var longAgo = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// examClock asks the kernel whether somebody keeps the clock, and does not ask for the time
// elsewhere: check compares the clocks of a cluster with each other, which is what matters.
func examClock(_ context.Context, m *machine, _ *startOptions) []diagnosis {
	const id, advice = "clock", "let NTP keep it: 'timedatectl set-ntp true', or chrony"
	now := m.now()
	if now.Before(longAgo) {
		return []diagnosis{lineFail(id, advice, "it says %s: keys are not valid yet, and calls for a time of day come too early", now.Format(time.DateOnly))}
	}
	synced, err := m.synced()
	switch {
	case err != nil:
		return []diagnosis{lineWarn(id, advice, "whether somebody keeps it cannot be read: %v", err)}
	case !synced:
		return []diagnosis{lineWarn(id, advice, "nobody keeps it: it drifts away from those of the other machines")}
	}
	return []diagnosis{lineOK(id, "it is kept in time")}
}

// Go's collector lets the heap grow to twice what lives, whatever the container may have. With
// GOMEMLIMIT it works harder near the limit and is not killed there. A tenth is left for what
// is not Go's: stacks of threads, buffers of the kernel that count for the container.
// examMemory: in a container Go does not know the limit and grows until it is killed.
func examMemory(_ context.Context, m *machine, _ *startOptions) []diagnosis {
	const id = "memory"
	text, err := m.read("/sys/fs/cgroup/memory.max")
	most, bad := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	switch {
	case err != nil || bad != nil: // no container, or one without a limit
		return []diagnosis{lineOK(id, "no limit but the machine's")}
	case m.env("GOMEMLIMIT") == "":
		return []diagnosis{lineWarn(id, fmt.Sprintf("set GOMEMLIMIT to nine tenths of it: GOMEMLIMIT=%dMiB", most/10*9>>20), "the process is killed above %s, and Go does not know it", byteSize(most))}
	}
	return []diagnosis{lineOK(id, "the process is killed above %s, GOMEMLIMIT is %s", byteSize(most), m.env("GOMEMLIMIT"))}
}

// goodBacklog is how many connections should be able to wait for accept.
const goodBacklog = 1024

// examBacklog: a server asks for a long queue of connections that wait to be accepted, and the
// kernel silently cuts it to this number. After a network fault all clients come back at once.
func examBacklog(_ context.Context, m *machine, _ *startOptions) []diagnosis {
	const id = "backlog"
	text, err := m.read("/proc/sys/net/core/somaxconn")
	n, bad := strconv.Atoi(strings.TrimSpace(text))
	switch {
	case err != nil || bad != nil:
		return []diagnosis{lineWarn(id, "look with sysctl net.core.somaxconn", "how many connections may wait to be accepted cannot be read")}
	case n < goodBacklog:
		return []diagnosis{lineWarn(id, "sysctl -w net.core.somaxconn=4096, and a line in /etc/sysctl.d", "%d connections may wait to be accepted: more at once are dropped", n)}
	}
	return []diagnosis{lineOK(id, "%d connections may wait to be accepted", n)}
}

// The folder is made if it is not there, as the start of a node would; who owns it and who may
// write to it is what counts.
// examSocket: the commands reach the node through a folder that nobody else may write to.
func examSocket(_ context.Context, m *machine, _ *startOptions) []diagnosis {
	const id = "admin socket"
	if err := m.socket(); err != nil {
		return []diagnosis{lineFail(id, "remove the folder if it is not yours, or set XDG_RUNTIME_DIR or --socket", "%v", err)}
	}
	return []diagnosis{lineOK(id, "in %s", admin.Dir())}
}

// Keys are read as the node would read them, so what is refused here would be refused there,
// with the same words. The end that counts is the first one, of the keys or of the certificate:
// without either no server takes the node.
// keysSoon is when the end of keys is a warning.
const keysSoon = 30 * 24 * time.Hour

// examKeys judges the keys by the clock of this machine, as its server will.
func examKeys(_ context.Context, m *machine, o *startOptions) []diagnosis {
	const id, advice = "keys", "make new ones with 'loopmesh keys rotate', and copy the node's folder again"
	if o.server.folder == "" {
		if o.server.insecure {
			return []diagnosis{lineWarn(id, "make keys with 'loopmesh keys init' and give --keys in place of --insecure", "there are none, and --insecure lets everybody who reaches the port do everything")}
		}
		return []diagnosis{lineOK(id, "none: nothing listens beyond this machine")}
	}
	who, err := keys.Load(o.server.folder, o.name)
	switch {
	case errors.Is(err, keys.ErrPermissions):
		return []diagnosis{lineFail(id, "chmod 600 that file; when somebody may have read it, make new keys", "%v", err)}
	case err != nil:
		return []diagnosis{lineFail(id, "copy the whole folder nodes/NAME of the key folder to this machine", "%v", err)}
	}
	ends := who.Expires
	if c := who.CertificateExpires(); c.Before(ends) {
		ends = c
	}
	level, text := endsSoon(ends.Sub(m.now()), keysSoon)
	switch {
	case level == levelError:
		return []diagnosis{lineFail(id, advice, "those of node %s %s", who.Node, text)}
	case level == levelWarn:
		return []diagnosis{lineWarn(id, advice, "those of node %s %s", who.Node, text)}
	case len(o.server.routes) > 1 && !who.Voter:
		return []diagnosis{lineFail(id, "make them with 'loopmesh keys add --voter'", "those of node %s are not those of a voter, and --routes makes it one", who.Node)}
	}
	return []diagnosis{lineOK(id, "of node %s of cluster %s, until %s", who.Node, who.Cluster, ends.Format(time.DateOnly))}
}

// Room on the disk of a store: below the first the server stops writing at once.
const (
	leastRoom = 64 << 20
	goodRoom  = 1 << 30
)

// examStore makes a file in the folder and removes it: permissions, read-only mounts and quotas
// answer to that alone. The folder itself stays; a start would make it, too.
func examStore(_ context.Context, m *machine, o *startOptions) []diagnosis {
	const id = "store"
	dir := o.server.storeDir
	if dir == "" {
		return []diagnosis{lineOK(id, "none: names, calls for later and commands need one (--store)")}
	}
	if err := m.mayUse(dir); err != nil {
		return []diagnosis{lineFail(id, "make the folder and give it to the user of the node: mkdir -p, chown", "%s cannot be used: %v", dir, err)}
	}
	free, inMemory, err := m.disk(dir)
	switch {
	case err != nil:
		return []diagnosis{lineWarn(id, "look with df", "how much room %s has cannot be read: %v", dir, err)}
	case free < leastRoom:
		return []diagnosis{lineFail(id, "make room on that disk", "%s are free on the disk of %s: nothing durable is written with so little", byteSize(free), dir)}
	case inMemory:
		return []diagnosis{lineWarn(id, "use a folder on a disk", "%s lies in memory: it is empty after the machine starts again", dir)}
	case free < goodRoom:
		return []diagnosis{lineWarn(id, "make room on that disk", "%s are free on the disk of %s", byteSize(free), dir)}
	}
	return []diagnosis{lineOK(id, "%s, %s are free", dir, byteSize(free))}
}

// What a start would listen on follows from the same flags that it reads. --listen has no
// effect with --join, so it is not tried then.
// listeners are the addresses that a start with these flags would take, by their flags.
func (o *startOptions) listeners(services []Service) (out [][2]string) {
	if len(o.join) == 0 && o.natsURL == "" && o.listen != "none" {
		out = append(out, [2]string{"--listen", o.listen})
	}
	if o.server.routeListen != "" {
		out = append(out, [2]string{"--route-listen", o.server.routeListen})
	}
	if o.adminListen != "" {
		out = append(out, [2]string{"--admin-listen", o.adminListen})
	}
	for i, at := range o.services {
		if at != "" {
			out = append(out, [2]string{"--" + services[i].Name, at})
		}
	}
	return out
}

// A port is taken and given back. Between that and the start of the node somebody else may take
// it; the start then says so itself.
// examListen tries each port. One that is taken is good when the node that has it is this
// one, which runs already.
func examListen(ctx context.Context, m *machine, o *startOptions) (out []diagnosis) {
	_, lives := m.running(ctx, o.nodeName())
	for _, l := range o.listeners(o.program.services) {
		id := "port " + l[0]
		err := m.listen(l[1])
		switch {
		case err == nil:
			out = append(out, lineOK(id, "%s is free", l[1]))
		case lives:
			out = append(out, lineOK(id, "%s is taken, by node %s, which runs", l[1], o.nodeName()))
		default:
			out = append(out, lineFail(id, "'ss -ltnp' shows who has it; stop that, or give another address", "%s cannot be taken: %v", l[1], err))
		}
	}
	return out
}

// A firewall that drops packets answers nothing at all, so an attempt needs an end of its own.
// Two seconds are long for a network on which a cluster should run.
// dialLimit bounds an attempt to reach another machine.
const dialLimit = 2 * time.Second

// Only whether a connection can be made is tried, not who answers there: who has the right
// keys is found out by the start itself, and a stranger's server would be asked for nothing.
// peers are the addresses of others that a start would connect to, by their flags. Which
// of --routes is this node is not known without starting; it is among them.
func (o *startOptions) peers() map[string][]string {
	out := map[string][]string{}
	if len(o.join) > 0 {
		out["--join"] = slices.Clone(o.join)
	}
	if o.natsURL != "" {
		for at := range strings.SplitSeq(o.natsURL, ",") {
			out["--nats-url"] = append(out["--nats-url"], hostOfURL(at))
		}
	}
	if len(o.server.routes) > 1 {
		out["--routes"] = o.server.routes
	}
	return out
}

// examReach tries to connect to every other machine of the configuration. One that is
// enough makes a start possible, but not one among voters, who start one after another.
func examReach(ctx context.Context, m *machine, o *startOptions) (out []diagnosis) {
	peers := o.peers()
	for _, flag := range []string{"--join", "--nats-url", "--routes"} {
		var bad []string
		for _, at := range peers[flag] {
			within, cancel := context.WithTimeout(ctx, dialLimit)
			if err := m.dial(within, at); err != nil {
				bad = append(bad, fmt.Sprintf("%s (%v)", at, reasonOf(err)))
			}
			cancel()
		}
		id, all := "reach "+flag, len(peers[flag])
		switch text := strings.Join(bad, ", "); {
		case all == 0:
		case len(bad) == 0:
			out = append(out, lineOK(id, "%s", strings.Join(peers[flag], ", ")))
		case len(bad) == all && flag != "--routes":
			out = append(out, lineFail(id, "start the nodes there, or look at the firewall between", "none can be reached: %s", text))
		default:
			out = append(out, lineWarn(id, "good as long as they are not started yet; else look at the firewall between", "%d of %d cannot be reached: %s", len(bad), all, text))
		}
	}
	return out
}

// Errors of package net repeat the operation and both addresses, which the line has already.
// reasonOf is the last part of an error of the network, without the address again.
func reasonOf(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// After an upgrade of the program on disk the old one runs on until it is started again; that
// is seen here, and nowhere else on the machine.
// examRunning: a node of this name that runs already, and of another version.
func examRunning(ctx context.Context, m *machine, o *startOptions) []diagnosis {
	const id = "node"
	version, lives := m.running(ctx, o.nodeName())
	ours, _ := admin.Version()
	switch {
	case !lives:
		return []diagnosis{lineOK(id, "none called %s runs on this machine", o.nodeName())}
	case version != ours:
		return []diagnosis{lineWarn(id, "drain it and start it again with this program: 'loopmesh drain'", "%s runs with version %s, this program is %s", o.nodeName(), version, ours)}
	}
	return []diagnosis{lineOK(id, "%s runs, with this version", o.nodeName())}
}

// The rules are those of start: the flag, else the keys, else the machine. A name that the
// cluster makes up has no node that could run already.
// nodeName is the name that a start would give the node, as far as it is known without it.
func (o *startOptions) nodeName() string {
	switch {
	case o.name != "":
		return o.name
	case namedByKeys(o.server.folder):
		if who, err := keys.Load(o.server.folder, ""); err == nil {
			return who.Node
		}
	}
	return hostName()
}
