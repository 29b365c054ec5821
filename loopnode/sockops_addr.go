package loopnode

import (
	"net"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// usable refuses an address that no socket can have. Which addresses there are, and
// what may be in them, is known to package sock alone.
func usable(what string, addr net.Addr) error {
	if _, later := addr.(namedAddr); later {
		return nil
	}
	if _, err := sock.NameOf(addr); err != nil {
		return invalid("%s: %v", what, err)
	}
	return nil
}
