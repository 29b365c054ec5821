package poller

// slot is one registration. Descriptors are named to the kernel by slot and
// generation, never by pointer: an event of a former owner is dropped by one
// compare.
type slot struct {
	owner      any
	fd         int32
	next       int32 // next free slot when free
	generation uint32
	want       Events
	used       bool
	inKernel   bool // Invariant: implies used && want != 0 && !lost.
	lost       bool // the descriptor was closed without Remove and its number reused
}

// noSlot ends the free list and marks descriptors without a registration.
const noSlot int32 = -1

// slab holds the registrations of one poller. Owned by the loop goroutine.
type slab struct {
	slots []slot
	free  int32
	byFD  []int32 // descriptor number → slot; numbers are small and dense
	live  int
}

func newSlab() slab { return slab{free: noSlot} }

// take makes a registration and returns its token.
func (s *slab) take(fd int, want Events, owner any) Token {
	i := s.free
	if i == noSlot {
		i = int32(len(s.slots))
		s.slots = append(s.slots, slot{})
	} else {
		s.free = s.slots[i].next
	}
	e := &s.slots[i]
	if e.generation++; e.generation == 0 {
		e.generation = 1
	}
	*e = slot{owner: owner, fd: int32(fd), generation: e.generation, want: want, used: true}
	s.live++
	return Token{i, e.generation}
}

// get finds the live slot of t, nil when the token is stale.
func (s *slab) get(t Token) *slot {
	if t.slot < 0 || int(t.slot) >= len(s.slots) {
		return nil
	}
	if e := &s.slots[t.slot]; e.used && e.generation == t.generation {
		return e
	}
	return nil
}

// drop ends the registration t names.
func (s *slab) drop(t Token) {
	e := &s.slots[t.slot]
	if s.holder(int(e.fd)) == t.slot {
		s.byFD[e.fd] = noSlot
	}
	*e = slot{generation: e.generation, next: s.free}
	s.free = t.slot
	s.live--
}

// holder is the slot that last registered fd, noSlot when none.
func (s *slab) holder(fd int) int32 {
	if fd >= len(s.byFD) {
		return noSlot
	}
	return s.byFD[fd]
}

// hold makes i the slot that registered fd.
func (s *slab) hold(fd int, i int32) {
	for fd >= len(s.byFD) {
		s.byFD = append(s.byFD, noSlot)
	}
	s.byFD[fd] = i
}
