package actors

// members is an unordered set whose members know their place in it, so that one is
// removed in constant time and the set needs no hashing. It gives memory back when
// it has become small. Owned by whoever guards it; the zero value is empty.
//
// It is for values that are added and removed often and must be found when their owner
// ends: timers and Asks without an outcome.
type members[T interface{ place() *int }] struct{ list []T }

// membersKeep: a list this short is never shrunk.
const membersKeep = 32

func (m *members[T]) add(v T) {
	m.list = append(m.list, v)
	*v.place() = len(m.list) // Invariant: the place is the index plus one, 0 outside of the set
}

// remove reports whether v was a member.
func (m *members[T]) remove(v T) bool {
	at := *v.place()
	if at == 0 {
		return false
	}
	last := len(m.list) - 1
	moved := m.list[last]
	m.list[at-1] = moved
	*moved.place() = at
	*v.place() = 0
	var zero T
	m.list[last] = zero // do not keep it alive
	m.list = m.list[:last]
	if cap(m.list) > membersKeep && last < cap(m.list)/4 {
		m.list = append(make([]T, 0, cap(m.list)/2), m.list...)
	}
	return true
}

// takeAll empties the set and returns what was in it.
func (m *members[T]) takeAll() []T {
	all := m.list
	m.list = nil
	for _, v := range all {
		*v.place() = 0
	}
	return all
}
