// Package history is what processes wrote down while faults were injected, and the
// checkers that read it. A history is a list of events, one JSON line each, in files of
// their own for each life of a process; their clock is the machine's monotonic one, so
// events of different processes have one order. A checker is a pure function of a
// history: it returns how much it looked at and every breach of the promise.
//
// Each checker has a test with planted breaches: histories that it must refuse.
package history
