package calls

// seenWindow is how far behind the newest id of a node a call may arrive. Why so
// much: a goroutine that has drawn an id may be held up before it sends.
const seenWindow = 1 << 16

// seen are the ids of the calls of one node that have arrived, so that a frame that
// comes twice runs once, however long ago it ended. It comes twice when a connection
// is replaced by another one, or when somebody replays it. Invariant: bits has a one
// for each id in (newest-seenWindow, newest] that has arrived.
type seen struct {
	newest uint64
	bits   [seenWindow / 64]uint64
}

// arrival is what is known of an id.
type arrival uint8

const (
	first  arrival = iota // it has not arrived before
	again                 // it has
	tooOld                // it is out of the window: nobody knows
)

func (s *seen) note(id uint64) arrival {
	switch {
	case s.newest == 0 || id > s.newest && id-s.newest >= seenWindow:
		clear(s.bits[:])
		s.newest = id
	case id > s.newest:
		for i := s.newest + 1; i < id; i++ {
			s.set(i, false)
		}
		s.newest = id
	case s.newest-id >= seenWindow:
		return tooOld
	case s.has(id):
		return again
	}
	s.set(id, true)
	return first
}

func (s *seen) has(id uint64) bool {
	i := id % seenWindow
	return s.bits[i/64]&(1<<(i%64)) != 0
}

func (s *seen) set(id uint64, v bool) {
	i := id % seenWindow
	if v {
		s.bits[i/64] |= 1 << (i % 64)
	} else {
		s.bits[i/64] &^= 1 << (i % 64)
	}
}
