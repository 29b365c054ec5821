package lookup

import "net"

// EAI is why a lookup failed, with the C library's numbers. It is an error, so
// that errors.Is(err, lookup.EAINoName) works. asyncio: socket.EAI_*.
type EAI int

// The codes of getaddrinfo(3).
const (
	EAIBadFlags   EAI = -1 // a flag that does not exist, or does not fit
	EAINoName     EAI = -2 // the host or service is not known
	EAIAgain      EAI = -3 // no answer now; it may work later
	EAIFail       EAI = -4 // no answer, and none will come
	EAIFamily     EAI = -6 // the address family is not supported
	EAISockType   EAI = -7 // the socket type is not supported
	EAIService    EAI = -8 // the service is not known for the socket type
	EAIAddrFamily EAI = -9 // the host has no address of the family
)

var eaiText = map[EAI]string{
	EAIBadFlags:   "bad value for flags",
	EAINoName:     "name or service not known",
	EAIAgain:      "temporary failure in name resolution",
	EAIFail:       "non-recoverable failure in name resolution",
	EAIFamily:     "address family not supported",
	EAISockType:   "socket type not supported",
	EAIService:    "service not supported for the socket type",
	EAIAddrFamily: "address family for hostname not supported",
}

func (e EAI) Error() string {
	if s := eaiText[e]; s != "" {
		return s
	}
	return "unknown lookup failure"
}

// Error is a failed lookup. errors.Is finds its code, errors.As the
// resolver's *net.DNSError when there is one. asyncio: socket.gaierror.
type Error struct {
	Code    EAI
	Host    string
	Service string
	Err     error // the particulars, nil when the code says it all
}

func (e *Error) Error() string {
	s := "looking up " + net.JoinHostPort(e.Host, e.Service) + ": " + e.Code.Error()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Err}
}
