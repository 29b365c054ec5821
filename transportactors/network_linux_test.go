package transportactors

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
)

func TestUnknownNetworks(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		factory := func() *probe { return newProbe(ctx) }
		_, _, connect := CreateConnection(ctx, factory, "udp", "127.0.0.1:1")
		_, listen := CreateServer(ctx, factory, "vsock", "3:1024")
		for _, err := range []error{connect, listen} {
			if !errors.Is(err, loopnode.ErrInvalidArgument) || !strings.Contains(err.Error(), "use tcp, tcp4, tcp6 or unix") {
				t.Error(err)
			}
		}
		for _, remote := range []string{"", "127.0.0.1:1"} {
			_, _, err := at(ctx, "tcp", "", remote)
			if !errors.Is(err, loopnode.ErrInvalidArgument) || !strings.Contains(err.Error(), "use udp, udp4, udp6 or unixgram") {
				t.Error(err)
			}
		}
		return nil
	})
}

// A row of the table is all that a new kind needs here: this one has addresses of its
// own ("room/N"), which it turns into abstract UNIX addresses.
func TestANetworkIsARow(t *testing.T) {
	place := &net.UnixAddr{Name: "@" + t.TempDir(), Net: "unix"}
	rooms := &network{name: "rooms", host: func(string) string { return "localhost" }}
	rooms.resolve = func(_ context.Context, _ *network, address string, _ lookup.AIFlags) ([]net.Addr, error) {
		number, ok := strings.CutPrefix(address, "room/")
		if !ok {
			return nil, invalid("address %q: want room/N", address)
		}
		return []net.Addr{&net.UnixAddr{Name: place.Name + number, Net: place.Net}}, nil
	}
	before := networks
	networks = append(slices.Clone(networks), rooms)
	defer func() { networks = before }()

	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		if _, err := CreateServer(ctx, func() *probe { return newProbe(ctx) }, "rooms", "hall/1"); err == nil {
			t.Error("an address of another form was taken")
		}
		server := newProbe(ctx)
		s, err := CreateServer(ctx, func() *probe { return server }, "rooms", "room/1", WithTLS(theTLSWorld().serverConfig()))
		if err != nil {
			return err
		}
		tr, client, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "rooms", "room/1", WithTLS(theTLSWorld().clientConfig()))
		if err != nil {
			return err
		}
		must(t, tr.Write([]byte("hello")))
		tr.Close()
		s.Close()
		must(t, client.wait(ctx))
		must(t, server.wait(ctx))
		if string(server.data) != "hello" {
			t.Errorf("%q", server.data)
		}
		return nil
	})
}

// familiesFile is where the families are told apart, networksFile where the networks are.
const familiesFile, networksFile = "../internal/sock/families.go", "network.go"

// Only two files tell kinds of transports apart: what a file below names, by the name
// of a network, the type of an address or a family, stands in one of them. A family's
// own file (family_…) has the forms of its addresses, and nothing that chooses.
func TestNetworksAreKnownInOnePlace(t *testing.T) {
	names := []string{}
	for _, n := range networks {
		names = append(names, n.name)
	}
	for _, dir := range []string{".", "../internal/sock", "../loopnode", "../loopnode/looptest", "subprocess"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		must(t, err)
		if len(files) == 0 {
			t.Errorf("%s has no file: the check sees nothing", dir)
		}
		for _, path := range files {
			base := filepath.Base(path)
			if strings.HasSuffix(path, "_test.go") || path == networksFile || path == familiesFile || strings.HasPrefix(base, "family_") && filepath.Dir(path) == filepath.Dir(familiesFile) {
				continue
			}
			for _, what := range kindsNamedIn(t, path, names) {
				t.Errorf("%s: %s belongs into %s or %s", path, what, networksFile, familiesFile)
			}
		}
	}
	for _, path := range []string{networksFile, familiesFile} {
		if found := kindsNamedIn(t, path, names); len(found) < 3 {
			t.Errorf("%s names only %v: the check sees nothing", path, found)
		}
	}
}

// kindsNamedIn are the names of networks, the types of addresses and the families in a
// file: sock.Unix, Unix inside package sock, unix.AF_INET.
func kindsNamedIn(t *testing.T, path string, names []string) (found []string) {
	text, err := os.ReadFile(path)
	must(t, err)
	file, err := parser.ParseFile(token.NewFileSet(), path, text, 0)
	must(t, err)
	families := []string{"IPv4", "IPv6", "Unix"}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil && slices.Contains(names, s) {
				found = append(found, n.Value)
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			switch name := n.Sel.Name; {
			case !ok:
			case x.Name == "net" && slices.Contains([]string{"TCPAddr", "UDPAddr", "UnixAddr", "IPAddr"}, name),
				x.Name == "sock" && slices.Contains(families, name),
				(x.Name == "unix" || x.Name == "syscall") && (strings.HasPrefix(name, "AF_") || strings.HasPrefix(name, "Sockaddr")):
				found = append(found, x.Name+"."+name)
			}
			return !ok // the name behind the dot is no name of this package
		case *ast.Ident:
			if file.Name.Name == "sock" && slices.Contains(families, n.Name) {
				found = append(found, n.Name)
			}
		}
		return true
	})
	return found
}
