//go:build !linux

package sock

// Inbox receives nothing.
type Inbox struct{}

// SetRoom does nothing.
func (*Inbox) SetRoom([]byte, int) {}

// Room is 0.
func (*Inbox) Room() int { return 0 }

// Receive answers ErrUnsupported.
func (*Inbox) Receive(int, int) (int, error) { return 0, ErrUnsupported }

// At is nothing.
func (*Inbox) At(int) []byte { return nil }

// From is nowhere.
func (*Inbox) From(int) Name { return Name{} }

type messages struct{}

func newMessages(int) messages { return messages{} }

// Segments is 0.
func Segments(int) int { return 0 }

// Send answers ErrUnsupported.
func (o *Outbox) Send(_, first int, _ *int) (int, error) { return first, ErrUnsupported }
