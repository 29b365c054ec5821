package process

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// Why a shell sets the limits: between fork and exec a Go program can run no code of its
// own, and limits that are set from outside, once the program runs, come too late for what
// it did first. The shell's text is fixed and has numbers of the profile in it only; the
// program and its arguments are the shell's parameters, which it never reads as text. It
// replaces itself (exec), so the child's number is the program's.

const shell = "/bin/sh"

// limited is argv with the limits in front of it.
func (l Limits) limited(argv []string) []string {
	var set []string
	add := func(option string, value int64) {
		if value > 0 {
			set = append(set, fmt.Sprintf("ulimit -%s %d", option, value))
		}
	}
	add("t", int64((l.CPU+time.Second-1)/time.Second))
	add("v", (l.Memory+1023)>>10) // KiB
	add("n", int64(l.Files))
	add("f", (l.Output+511)>>9) // blocks of 512 bytes, by POSIX
	if len(set) == 0 {
		return argv
	}
	return append([]string{shell, "-c", strings.Join(set, " && ") + ` && exec "$0" "$@"`}, argv...)
}

// account is who a child runs as.
type account struct {
	uid, gid uint32
	groups   []uint32
}

// lookUpUser finds the profile's user once, when the profile is offered.
func lookUpUser(p *profile) error {
	if p.User == "" {
		return nil
	}
	a := &account{}
	if uid, gid, ok := strings.Cut(p.User, ":"); ok {
		u, err := number(uid)
		if err != nil {
			return fmt.Errorf("user %q: %w", p.User, err)
		}
		if a.gid, err = number(gid); err != nil {
			return fmt.Errorf("user %q: %w", p.User, err)
		}
		a.uid, p.user = u, a
		return nil
	}
	found, err := user.Lookup(p.User)
	if err != nil {
		return err
	}
	ids, err := found.GroupIds()
	if err != nil {
		return fmt.Errorf("the groups of user %s: %w", p.User, err)
	}
	for i, text := range append([]string{found.Uid, found.Gid}, ids...) {
		n, err := number(text)
		switch {
		case err != nil:
			return fmt.Errorf("user %s: %w", p.User, err)
		case i == 0:
			a.uid = n
		case i == 1:
			a.gid = n
		default:
			a.groups = append(a.groups, n)
		}
	}
	p.user = a
	return nil
}

func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}
