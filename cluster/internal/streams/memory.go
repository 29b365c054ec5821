package streams

import (
	"sync"

	"github.com/loopmesh/loopmesh/cluster/internal/link"
)

// memory keeps the memory of frames that were sent, for those that follow: a stream at
// full speed would otherwise make garbage of the size of what it carries. There are two
// sizes, so that a small write does not hold a large piece. Any goroutine.
type memory struct{ small, large sync.Pool }

const (
	smallItem = 16 << 10
	smallSize = link.HeadRoom + smallItem
	largeSize = link.HeadRoom + piece
)

// get gives memory for n bytes or the first of them, most at the most, with link.HeadRoom
// bytes in front of which the content means nothing.
func (m *memory) get(n, most int) []byte {
	if n <= smallItem {
		b, _ := m.small.Get().(*[smallSize]byte)
		if b == nil {
			b = new([smallSize]byte)
		}
		return b[:link.HeadRoom:min(smallSize, link.HeadRoom+most)]
	}
	b, _ := m.large.Get().(*[largeSize]byte)
	if b == nil {
		b = new([largeSize]byte)
	}
	return b[:link.HeadRoom:min(largeSize, link.HeadRoom+most)]
}

// put takes memory back that nobody uses any more.
func (m *memory) put(b []byte) {
	switch cap(b) {
	case smallSize:
		m.small.Put((*[smallSize]byte)(b[:smallSize]))
	case largeSize:
		m.large.Put((*[largeSize]byte)(b[:largeSize]))
	}
}
