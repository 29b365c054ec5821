package process

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlGroup is the group of one child. Owned by the loop of the host.
type controlGroup struct{ path string }

// openGroup makes a group below the parent, with its limits. Errors: ErrNoGroup, with what is
// missing on this machine; then there is no folder.
func openGroup(g Group, name string) (*controlGroup, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(g.Parent, &fs); err != nil {
		return nil, noGroup("%s: %w: make it, as a folder below the mount of cgroup2", g.Parent, err)
	}
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, noGroup("%s is no folder of the cgroup v2 hierarchy ('mount -t cgroup2' shows where it is)", g.Parent)
	}
	limits := g.limits()
	if err := delegate(g.Parent, limits); err != nil {
		return nil, err
	}
	out := &controlGroup{path: filepath.Join(g.Parent, name)}
	err := os.Mkdir(out.path, 0o755)
	if errors.Is(err, os.ErrExist) { // left by a node of that name that was killed
		_ = out.kill() // Remove says so when it did not work
		if err = out.remove(); err == nil {
			err = os.Mkdir(out.path, 0o755)
		}
	}
	if err != nil {
		return nil, noGroup("%w: this process has to be able to make folders in %s", err, g.Parent)
	}
	if err := out.fill(limits); err != nil {
		_ = out.remove() // it is empty; what matters is why it was not filled
		return nil, err
	}
	return out, nil
}

// fill sets the limits.
func (g *controlGroup) fill(limits []limit) error {
	if _, err := os.Stat(filepath.Join(g.path, "cgroup.kill")); err != nil {
		return noGroup("%w: killing a control group takes Linux 5.14", err)
	}
	for _, l := range limits {
		if err := write(filepath.Join(g.path, l.file), l.text); err != nil {
			return noGroup("the limit %s: %w", l.text, err)
		}
	}
	return nil
}

// delegate has the parent hand the controllers of the limits on to its groups. It is done when
// one is needed and not before, because a group with processes of its own refuses that.
func delegate(parent string, limits []limit) error {
	on, err := words(filepath.Join(parent, "cgroup.subtree_control"))
	if err != nil {
		return noGroup("%w", err)
	}
	for _, l := range limits {
		if slices.Contains(on, l.controller) {
			continue
		}
		has, err := words(filepath.Join(parent, "cgroup.controllers"))
		if err != nil {
			return noGroup("%w", err)
		}
		if !slices.Contains(has, l.controller) {
			return noGroup("%s has not the controller %s, which the limit of %s needs; it has: %s", parent, l.controller, l.file, strings.Join(append(has, "no others"), ", "))
		}
		if err := write(filepath.Join(parent, "cgroup.subtree_control"), "+"+l.controller); err != nil {
			return noGroup("%s does not hand the controller %s on to its groups: %w (it must not have processes of its own)", parent, l.controller, err)
		}
		on = append(on, l.controller)
	}
	return nil
}

// kill ends all processes of the group, and of groups that they have made below it.
func (g *controlGroup) kill() error { return write(filepath.Join(g.path, "cgroup.kill"), "1") }

// remove removes the group when nobody is in it any more. One that is gone is removed.
func (g *controlGroup) remove() error {
	err := syscall.Rmdir(g.path)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return &os.PathError{Op: "rmdir", Path: g.path, Err: err}
}

// write writes to a file of the kernel's, which is there.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// words reads a list of the kernel's.
func words(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	return strings.Fields(string(text)), err
}
