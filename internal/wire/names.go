package wire

// Names keeps the strings that come again in every frame (nodes, loops,
// functions), so that decoding a frame of a known peer allocates nothing.
// Owned by the goroutine that decodes. The zero value works; a nil one does not
// remember anything.
type Names struct {
	known map[string]string
	bytes int                // Invariant: sum of len over known, at most maxKnownBytes
	last  [nameFields]string // by field: the next frame mostly has the same
}

const nameFields = 5 // of a frame: From, Path, Function, Sentinel, Sender

// What a peer that invents names can make a node remember.
const (
	maxKnown      = 1024
	maxKnownBytes = 64 << 10
)

func (n *Names) intern(b []byte, field int) string {
	if n == nil {
		return string(b)
	}
	if n.last[field] != string(b) {
		n.last[field] = n.find(b)
	}
	return n.last[field]
}

func (n *Names) find(b []byte) string {
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	s := string(b)
	if n.known == nil {
		n.known = make(map[string]string)
	}
	if len(n.known) >= maxKnown || n.bytes+len(s) > maxKnownBytes {
		clear(n.known) // start again: what is in use comes back by itself
		n.bytes = 0
	}
	n.known[s] = s
	n.bytes += len(s)
	return s
}
