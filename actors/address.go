package actors

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Address says where an actor, a loop or a transport is: a node, the incarnation of
// that node, and a path on it. It is a comparable value; copy it freely.
type Address struct {
	// Node is the node's name; empty means this process.
	Node string
	// Incarnation is the number of one life of a node, so that a message for a life
	// that has ended never reaches the next one. Zero means any.
	Incarnation uint64
	// Loop is the number of one loop among those that have its name, one after another,
	// in one incarnation, so that a message for a loop that has ended never reaches the
	// next one. Zero means any. It counts only with an Incarnation.
	Loop uint64
	// Path names the thing on its node: segments separated by slashes.
	Path string
}

// String is node@incarnation.loop/path, without what is zero. Parse reads it back.
func (a Address) String() string {
	if a.Incarnation == 0 {
		return a.Node + "/" + a.Path
	}
	life := strconv.FormatUint(a.Incarnation, 10)
	if a.Loop != 0 {
		life += "." + strconv.FormatUint(a.Loop, 10)
	}
	return a.Node + "@" + life + "/" + a.Path
}

// IsZero reports whether the address names nothing.
func (a Address) IsZero() bool { return a == Address{} }

// Validate tells why the address cannot be written down and read back, or nil.
// The error is an ErrBadAddress.
func (a Address) Validate() error {
	if i := strings.IndexAny(a.Node, "/@"); i >= 0 {
		return fmt.Errorf("%w: the node's name %q holds %q", ErrBadAddress, a.Node, a.Node[i])
	}
	if err := printable(a.Node); err != nil {
		return fmt.Errorf("%w: the node's name %q %s", ErrBadAddress, a.Node, err)
	}
	return checkName(a.Path)
}

// Parse reads what Address.String wrote. Only the form that String writes is
// accepted, so two strings that differ are two addresses. The error is an
// ErrBadAddress.
func Parse(s string) (Address, error) {
	host, path, ok := strings.Cut(s, "/")
	if !ok {
		return Address{}, fmt.Errorf("%w: %q has no slash between node and path", ErrBadAddress, s)
	}
	a := Address{Node: host, Path: path}
	if node, life, ok := strings.Cut(host, "@"); ok {
		a.Node = node
		life, loop, withLoop := strings.Cut(life, ".")
		if a.Incarnation, ok = positive(life); !ok {
			return Address{}, fmt.Errorf("%w: the incarnation %q in %q is not a positive number", ErrBadAddress, life, s)
		}
		if a.Loop, ok = positive(loop); withLoop && !ok {
			return Address{}, fmt.Errorf("%w: the loop's number %q in %q is not a positive number", ErrBadAddress, loop, s)
		}
	}
	if err := a.Validate(); err != nil {
		return Address{}, err
	}
	return a, nil
}

// positive reads a number as String writes it.
func positive(s string) (n uint64, ok bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n != 0 && strconv.FormatUint(n, 10) == s
}

// checkName accepts a path: printable segments, none empty.
func checkName(name string) error {
	if name == "" || name[0] == '/' || name[len(name)-1] == '/' || strings.Contains(name, "//") {
		return fmt.Errorf("%w: the path %q has an empty segment", ErrBadAddress, name)
	}
	if err := printable(name); err != nil {
		return fmt.Errorf("%w: the path %q %s", ErrBadAddress, name, err)
	}
	return nil
}

type textFault string

func (f textFault) Error() string { return string(f) }

func printable(s string) error {
	if !utf8.ValidString(s) {
		return textFault("is not UTF-8")
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return textFault("holds a character that does not print")
		}
	}
	return nil
}
