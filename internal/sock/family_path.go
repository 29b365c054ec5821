package sock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// MaxPath is how many bytes the kernel keeps of a path (sun_path without its NUL).
const MaxPath = 107

// parsePath takes a path. A leading NUL or '@' makes it abstract: no file has it.
func parsePath(text string) (Name, error) {
	if text == "" {
		return Name{}, errors.New("the path of the UNIX socket is empty")
	}
	if text[0] == 0 {
		text = "@" + text[1:]
	}
	n := PathName(text)
	return n, checkPath(n)
}

// checkPath refuses what cannot be the path of a UNIX socket.
func checkPath(n Name) error {
	switch path := n.Text; {
	case len(path) > MaxPath:
		return fmt.Errorf("the UNIX path %.20q… has %d bytes; the limit is %d: use a shorter directory", path, len(path), MaxPath)
	case strings.ContainsRune(path, 0):
		return fmt.Errorf("the UNIX path %q has a NUL in it", path)
	}
	return nil
}

// fromUnix takes an empty path, too: it is the kernel's to say what that means.
func fromUnix(a net.Addr) (n Name, mine bool, err error) {
	u, ok := a.(*net.UnixAddr)
	switch {
	case !ok:
		return n, false, nil
	case u == nil:
		return n, true, nilAddress(u)
	case u.Name == "":
		return PathName(""), true, nil
	}
	n, err = parsePath(u.Name)
	return n, true, err
}

func netUnix(n Name, stream bool) net.Addr {
	if stream {
		return &net.UnixAddr{Name: n.Text, Net: "unix"}
	}
	return &net.UnixAddr{Name: n.Text, Net: "unixgram"}
}

// putPath writes a path with a NUL behind it, and an abstract name with one in front
// and none behind: its length counts.
func putPath(b []byte, n Name) int {
	const path = 2 // where it begins
	if len(n.Text) > MaxPath || len(b) <= path+len(n.Text) {
		return 0
	}
	binary.NativeEndian.PutUint16(b, syscall.AF_UNIX)
	end := path + copy(b[path:], n.Text)
	switch {
	case n.Text == "":
		return path
	case n.Text[0] == '@':
		b[path] = 0
		return end
	}
	b[end] = 0
	return end + 1
}

func takePath(b []byte) Name {
	path := b[2:]
	switch {
	case len(path) == 0:
		return Name{}
	case path[0] == 0:
		return PathName("@" + string(path[1:]))
	}
	if end := bytes.IndexByte(path, 0); end >= 0 {
		path = path[:end]
	}
	return PathName(string(path))
}
