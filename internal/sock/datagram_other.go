//go:build !linux

package sock

// OpenDatagram answers ErrUnsupported.
func OpenDatagram(Family) (int, error) { return -1, ErrUnsupported }

// AdoptDatagram answers ErrUnsupported.
func AdoptDatagram(int) (Family, bool, error) { return 0, false, ErrUnsupported }

// Bind answers ErrUnsupported.
func Bind(int, Name) error { return ErrUnsupported }

// ConnectDatagram answers ErrUnsupported.
func ConnectDatagram(int, Name) error { return ErrUnsupported }

// SetReusePort answers ErrUnsupported.
func SetReusePort(int) error { return ErrUnsupported }

// SetBroadcast answers ErrUnsupported.
func SetBroadcast(int) error { return ErrUnsupported }

// Sender sends nothing.
type Sender struct{}

// Send answers ErrUnsupported.
func Send(int, []byte) error { return ErrUnsupported }

// SendTo answers ErrUnsupported.
func (*Sender) SendTo(int, []byte, Name) error { return ErrUnsupported }

// ReceiveFrom answers ErrUnsupported.
func ReceiveFrom(int, []byte) (int, Name, error) { return 0, Name{}, ErrUnsupported }

// LocalName is nowhere.
func LocalName(int) Name { return Name{} }

// PeerName is nowhere.
func PeerName(int) Name { return Name{} }

func isLost(error) bool { return false }
