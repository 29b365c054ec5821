package keys

import "errors"

// The errors of this package, to be tested with errors.Is.
var (
	// ErrExists: the folder or the node has keys already.
	ErrExists = errors.New("keys exist already")
	// ErrUnknown: the folder has no keys for that node.
	ErrUnknown = errors.New("no keys for that node")
	// ErrPermissions: others than the owner can read a secret file.
	ErrPermissions = errors.New("a secret file is readable by others")
	// ErrInvalid: a name, host, right or file that cannot be used.
	ErrInvalid = errors.New("invalid keys")
)
