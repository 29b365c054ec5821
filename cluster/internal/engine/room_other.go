//go:build !linux && !darwin

package engine

// freeBytes: nobody has looked into how to ask here, so the server itself has to find out.
func freeBytes(string) (uint64, error) { return 1 << 62, nil }
