package transportactors

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
)

// nobody is a resolver that knows no name.
type nobody struct{}

func (nobody) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

func (nobody) LookupPort(context.Context, string, string) (int, error) {
	return 0, &net.DNSError{Err: "unknown port", IsNotFound: true}
}
func (nobody) LookupCNAME(context.Context, string) (string, error)  { return "", errors.New("none") }
func (nobody) LookupAddr(context.Context, string) ([]string, error) { return nil, errors.New("none") }

// FuzzResolve: what CreateConnection and CreateServer are given is refused with
// ErrInvalidArgument or an *AddrInfoError, or it is addresses of the network.
func FuzzResolve(f *testing.F) {
	for _, seed := range [][2]string{
		{"tcp", "127.0.0.1:80"}, {"tcp6", "[::1]:0"}, {"tcp", "[fe80::1%lo]:65535"}, {"tcp", "[fe80::1%nope]:1"}, {"tcp4", "[::ffff:1.2.3.4]:1"},
		{"tcp", "localhost:http"}, {"tcp", "127.1:1"}, {"tcp", "0x7f.1:1"}, {"tcp", "1.2.3.4:65536"}, {"tcp", "1.2.3.4:-1"}, {"tcp", "1.2.3.4:0080"},
		{"tcp", ":1"}, {"tcp", ":"}, {"tcp", ""}, {"tcp", "a\x00b:1"}, {"tcp", "a..b:1"}, {"tcp", "\xff:1"}, {"tcp", "<broadcast>:1"},
		{"tcp", "[::1%3]:1"}, {"tcp", "[]:1"}, {"tcp", "[a]:1"}, {"tcp", "::1:1"}, {"tcp", strings.Repeat("h", 300) + ":1"},
		{"unix", "/tmp/socket"}, {"unix", "@abstract"}, {"unix", "\x00abstract"}, {"unix", "a\x00b"}, {"unix", ""},
		{"unix", strings.Repeat("p", 108)}, {"tcp5", "1.2.3.4:1"}, {"udp", "1.2.3.4:1"}, {"", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger(), Resolver: nobody{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	ctx := l.Context(context.Background())
	f.Fuzz(func(t *testing.T, network, address string) {
		found, err := resolve(ctx, network, address)
		var lookup *lookup.Error
		switch {
		case err != nil && len(found) > 0:
			t.Fatalf("%q %q: %v beside %v", network, address, found, err)
		case err != nil && !errors.Is(err, loopnode.ErrInvalidArgument) && !errors.As(err, &lookup):
			t.Fatalf("%q %q: %v is none of the documented errors", network, address, err)
		case err == nil && len(found) == 0:
			t.Fatalf("%q %q: neither an address nor an error", network, address)
		}
		for _, a := range found {
			switch a := a.(type) {
			case *net.TCPAddr:
				if a.Port < 0 || a.Port > 65535 || len(a.IP) == 0 || network == "unix" {
					t.Fatalf("%q %q became %v", network, address, a)
				}
				if four := a.IP.To4() != nil && len(a.IP) == 4; network == "tcp4" && !four || network == "tcp6" && four {
					t.Fatalf("%q %q became %v", network, address, a)
				}
			case *net.UnixAddr:
				if network != "unix" || a.Name == "" || len(a.Name) > sock.MaxPath {
					t.Fatalf("%q %q became %q", network, address, a.Name)
				}
			default:
				t.Fatalf("%q %q became a %T", network, address, a)
			}
		}
	})
}
