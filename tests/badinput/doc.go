// Package badinput gives the public API what it should never get, and checks
// that the answer says what was wrong, why, and what to do; that errors.Is finds
// the documented sentinel; and that no goroutine and no descriptor is left over.
package badinput
