package wire

import "fmt"

// Check tells whether the other side will accept f: names, path and payload
// within the limits. It returns an ErrLimit that says which field is too long.
func (f *Frame) Check(maxPayload int) error {
	switch {
	case len(f.From) > MaxName:
		return tooLong("node name", len(f.From), MaxName)
	case len(f.Path) > MaxPath:
		return tooLong("path", len(f.Path), MaxPath)
	case len(f.Function) > MaxName:
		return tooLong("function name", len(f.Function), MaxName)
	case len(f.Sentinel) > MaxName:
		return tooLong("error name", len(f.Sentinel), MaxName)
	case len(f.Sender) > MaxAddress:
		return tooLong("sender's address", len(f.Sender), MaxAddress)
	case len(f.Payload) > maxPayload:
		return tooLong("payload", len(f.Payload), maxPayload)
	}
	return nil
}

func tooLong(what string, have, limit int) error {
	return fmt.Errorf("%w: %s of %d bytes, limit %d", ErrLimit, what, have, limit)
}
