package sock

// Kind is what a descriptor leads to, as far as a loop cares.
type Kind uint8

const (
	// Other is a file or directory: always ready, so a loop cannot wait for it.
	Other Kind = iota
	// Fifo is a pipe, with a name or without.
	Fifo
	// Stream is a socket.
	Stream
	// Device is a terminal or another character device.
	Device
)

// Shape is what Look sees.
type Shape struct {
	Kind          Kind
	Reads, Writes bool
	Blocking      bool
}
