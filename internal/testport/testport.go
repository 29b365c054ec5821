// Package testport gives tests addresses of loopback on which they may listen, end, and
// listen again.
//
// Why not port 0 and then the port that the system gave: between two listeners of a test the
// system may give such a port to a connection of another process, and it does so once in some
// hundred runs of all tests at once. It takes those from 32768 upwards; these are below.
package testport

import (
	"math/rand/v2"
	"net"
	"strconv"
)

// T is the part of testing.TB that is used here.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Where the ports are: above those that programs like to use, and below those of the system.
const (
	from = 12_000
	most = 20_000
)

// Address is an address where nobody listens now.
func Address(t T) string {
	t.Helper()
	return Addresses(t, 1)[0]
}

// Addresses are some where nobody listens now, each with a port of its own. Another test
// may take one of them in the same moment, which is one of some ten thousand.
func Addresses(t T, count int) (out []string) {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(from+rand.IntN(most))))
		if err != nil {
			continue // somebody's
		}
		defer func() { _ = l.Close() }() // not before all of them are different ones
		if out = append(out, l.Addr().String()); len(out) == count {
			return out
		}
	}
	t.Fatalf("testport: no free port")
	return nil
}

// Port is the port of Address.
func Port(t T) int {
	t.Helper()
	_, port, _ := net.SplitHostPort(Address(t)) // it was made by net
	n, _ := strconv.Atoi(port)
	return n
}
