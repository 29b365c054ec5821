// Package proc starts children, tells when they ended, and signals them and
// nobody else. A child is named by a pidfd, which is of one process for good,
// where the kernel has them. On systems other than Linux Start answers
// ErrUnsupported.
package proc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrUnsupported: this system has no children for the loop yet.
var ErrUnsupported = errors.New("children on a loop are supported on Linux only")

// ErrStolen: somebody else reaped the child, so its exit code is lost.
var ErrStolen = errors.New("the child was reaped by other code of this process")

// Spec says what to start and how.
type Spec struct {
	Path  string   // found already; see Find
	Args  []string // Args[0] is the name the child sees
	Env   []string // all of it
	Dir   string   // "" is the parent's
	Files []int    // the child's descriptor i is Files[i]; None: it has none
	Attr  Attributes
	Slow  bool // do without a pidfd, as on an old kernel
}

// None is a descriptor that the child does not get.
const None = -1

// Attributes are what the child is between fork and exec.
type Attributes struct {
	Session bool // its own session
	Lead    bool // its own process group
	Group   int  // the process group to join, when not 0
	Root    string
	User    *User
	Control string         // folder of the control group in which it begins; "": this process's
	Death   syscall.Signal // sent to it when the thread that started it ends
}

// User is who the child runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// Find is where name is: as it stands when it has a slash, otherwise in the
// first absolute folder of PATH in env that has an executable of that name.
func Find(name string, env []string) (string, error) {
	if strings.ContainsRune(name, '/') {
		return name, nil
	}
	var why error = syscall.ENOENT
	for _, dir := range filepath.SplitList(path(env)) {
		if !filepath.IsAbs(dir) {
			continue // Why: what lies in the current folder must not win
		}
		file := filepath.Join(dir, name)
		switch info, err := os.Stat(file); {
		case err != nil || info.IsDir():
		case info.Mode()&0o111 == 0:
			why = syscall.EACCES
		default:
			return file, nil
		}
	}
	return "", why
}

const defaultPath = "/bin:/usr/bin"

func path(env []string) string {
	found := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			found = v
		}
	}
	return found
}
