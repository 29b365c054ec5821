package poller

// MakeToken makes a token for pollers that are not the kernel's, such as the
// fake one of package looptest.
func MakeToken(slot int) Token { return Token{slot: int32(slot), generation: 1} }

// Slot is the number that MakeToken was given.
func (t Token) Slot() int { return int(t.slot) }
