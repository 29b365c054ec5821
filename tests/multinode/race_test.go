//go:build race

package multinode

// shadow is how much memory the race detector keeps beside each byte that was ever written,
// and one for the byte. The collector's limit does not count it. It makes everything about as
// many times slower, too.
const shadow = 5
