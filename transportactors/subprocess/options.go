package subprocess

import (
	"os"
	"strings"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/proc"
)

// Stdio is what stdin, stdout or stderr of a child is: a StdioKind or File.
type Stdio interface{ stdio() }

// StdioKind is a Stdio without a file.
type StdioKind uint8

const (
	// Pipe is a pipe to this process. asyncio: PIPE.
	Pipe StdioKind = iota
	// Inherit is the same as this process's. asyncio: None.
	Inherit
	// DevNull is the null device. asyncio: DEVNULL.
	DevNull
	// Stdout, for stderr only, is what stdout is. asyncio: STDOUT.
	Stdout
)

func (StdioKind) stdio() {}

// File is an open file, which stays the caller's and must stay open until
// the child was started. It is put into blocking mode, which programs expect, as
// os/exec does.
func File(f *os.File) Stdio { return stdioFile{f} }

type stdioFile struct{ file *os.File }

func (stdioFile) stdio() {}

// Option changes how a child process is started.
type Option func(*options)

type options struct {
	args       []string
	executable string
	stdio      [3]Stdio
	env        []string
	envGiven   bool // WithEnv was used
	dir        string
	files      []*os.File
	attr       proc.Attributes
	group      bool
	slow       bool
	limit      int
	most       int
	pipeSize   int
}

const (
	defaultLimit = 64 << 10
	defaultMost  = 256 << 20
	highestSig   = 64
)

func collect(args []string, opts []Option) (*options, error) {
	o := &options{
		args: args, env: os.Environ(), limit: defaultLimit, most: defaultMost,
		stdio: [3]Stdio{Pipe, Pipe, Pipe},
	}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	if o.group && !o.attr.Session { // a session's leader leads its group, too
		o.attr.Lead = true
	}
	if err := o.check(); err != nil {
		return o, err
	}
	o.env = lastOfEach(o.env)
	return o, nil
}

// lastOfEach leaves out an entry whose key comes again. Why: a child's getenv
// takes the first of two, and our look-up of PATH the last; they must agree.
func lastOfEach(env []string) []string {
	last := map[string]int{}
	for i, e := range env {
		key, _, _ := strings.Cut(e, "=")
		last[key] = i
	}
	out := make([]string, 0, len(last))
	for i, e := range env {
		if key, _, _ := strings.Cut(e, "="); last[key] == i {
			out = append(out, e)
		}
	}
	return out
}

// check refuses what could only fail later, and less clearly.
func (o *options) check() error {
	if len(o.args) == 0 || o.args[0] == "" && o.executable == "" {
		return invalid("no program to start: the list of arguments is empty")
	}
	for what, list := range map[string][]string{"argument": o.args, "environment entry": o.env, "path": {o.executable, o.dir, o.attr.Root, o.attr.Control}} {
		for i, s := range list {
			if strings.ContainsRune(s, 0) {
				return invalid("%s %d contains a NUL byte: %q", what, i, s)
			}
		}
	}
	for i, e := range o.env {
		if o.envGiven && strings.Index(e, "=") <= 0 {
			return invalid("WithEnv: entry %d, %q, is not of the form KEY=value", i, e)
		}
	}
	for i, s := range o.stdio {
		f, file := s.(stdioFile)
		kind, ok := s.(StdioKind)
		switch {
		case file && f.file == nil, !file && !ok, kind > Stdout:
			return invalid("descriptor %d of the child: %v is no Stdio", i, s)
		case s == Stdout && i != 2:
			return invalid("Stdout is for stderr only")
		}
	}
	for _, f := range o.files {
		if f == nil {
			return invalid("WithFiles: a file is nil")
		}
	}
	switch {
	case o.attr.Group < 0:
		return invalid("process group %d is negative", o.attr.Group)
	case o.attr.Session && (o.attr.Lead || o.attr.Group != 0):
		return invalid("a child with a session of its own leads its process group already: leave the group out")
	case o.pipeSize < 0:
		return invalid("a pipe of %d bytes", o.pipeSize)
	case o.limit <= 0 || o.most <= 0:
		return invalid("the limits of streams and output must be positive")
	}
	return validSignal(o.attr.Death)
}

func validSignal(sig syscall.Signal) error {
	if sig < 0 || sig > highestSig {
		return invalid("signal %d is not valid: 0 to %d are", int(sig), highestSig)
	}
	return nil
}

// WithStdin says what the child's stdin is.
func WithStdin(s Stdio) Option { return func(o *options) { o.stdio[0] = s } }

// WithStdout says what the child's stdout is.
func WithStdout(s Stdio) Option { return func(o *options) { o.stdio[1] = s } }

// WithStderr says what the child's stderr is.
func WithStderr(s Stdio) Option { return func(o *options) { o.stdio[2] = s } }

// WithEnv makes env ("KEY=value") the child's whole environment; without entries
// it is empty. Of two entries with one key the last counts, as in os/exec.
// Without this option the environment is this process's. asyncio: env.
func WithEnv(env ...string) Option {
	return func(o *options) { o.env, o.envGiven = append([]string{}, env...), true }
}

// WithPipeSize is how many bytes each pipe to the child holds; the kernel rounds
// up. Default: the system's, 64 KiB. asyncio: pipesize.
func WithPipeSize(bytes int) Option { return func(o *options) { o.pipeSize = bytes } }

// WithDir is the folder the child starts in; a relative program is looked for
// from there. asyncio: cwd.
func WithDir(path string) Option { return func(o *options) { o.dir = path } }

// WithExecutable starts the program at path, whatever args[0] says; args[0] is
// the name the program sees. asyncio: executable.
func WithExecutable(path string) Option {
	return func(o *options) { o.executable = path }
}

// WithFiles gives the child these files, too, under the numbers they have here
// (File.Fd, or SyscallConn to learn it without side effect); numbers 0, 1 and 2
// are refused. The files stay the caller's. asyncio: pass_fds.
func WithFiles(files ...*os.File) Option {
	return func(o *options) { o.files = append(o.files, files...) }
}

// WithNewSession makes the child the leader of a session of its own: no
// terminal, and its own process group. asyncio: start_new_session.
func WithNewSession() Option { return func(o *options) { o.attr.Session = true } }

// WithProcessGroup puts the child into process group id; 0 makes it the leader
// of a new one. asyncio: process_group.
func WithProcessGroup(id int) Option {
	return func(o *options) { o.attr.Group, o.attr.Lead = id, id == 0 }
}

// WithGroupKill makes the child the leader of a new process group, and kills
// what is left of that group when the child ends, Kill and Close included. A
// grandchild that left the group lives on.
func WithGroupKill() Option { return func(o *options) { o.group = true } }

// WithControlGroup has the child begin in the control group (cgroup v2) whose folder is path:
// the kernel puts it there while it makes it. It takes Linux 5.7, and the right to write the
// group; without, the child is not started. "" is none.
func WithControlGroup(path string) Option { return func(o *options) { o.attr.Control = path } }

// WithUser runs the child as another user, which needs the right to.
// asyncio: user, group, extra_groups.
func WithUser(uid, gid uint32, groups ...uint32) Option {
	return func(o *options) { o.attr.User = &proc.User{UID: uid, GID: gid, Groups: groups} }
}

// WithRoot changes the child's root folder before the program is looked for,
// which needs the right to. WithExecutable or a path is needed then.
func WithRoot(path string) Option { return func(o *options) { o.attr.Root = path } }

// WithDeathSignal sends the child sig when this process dies, also by SIGKILL.
// The kernel watches the thread that started the child, and the Go runtime ends
// a thread only under a goroutine that locked it (runtime.LockOSThread) and
// returned: do not do that on the executor of a loop that uses this.
func WithDeathSignal(sig syscall.Signal) Option {
	return func(o *options) { o.attr.Death = sig }
}

// WithStreamLimit is how many unread bytes a Stream of a Process holds before
// the child has to wait; it holds at most twice that and one read. Default 64 KiB.
func WithStreamLimit(bytes int) Option { return func(o *options) { o.limit = bytes } }

// WithMaxOutput is how many bytes of stdout, and of stderr, Process.Communicate
// keeps before it gives up with ErrTooMuchOutput. Default 256 MiB.
func WithMaxOutput(bytes int) Option { return func(o *options) { o.most = bytes } }
