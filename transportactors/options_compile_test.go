package transportactors_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestOptionsCompile type-checks calls: an option that does not apply to a call
// must not compile there.
func TestOptionsCompile(t *testing.T) {
	calls := map[string]string{
		"connect":  "ta.CreateConnection(nil, proto, \"tcp\", \"a:1\", %)",
		"unix":     "ta.CreateUnixConnection(nil, proto, \"p\", %)",
		"open":     "ta.OpenConnection(nil, \"tcp\", \"a:1\", %)",
		"accepted": "ta.ConnectAcceptedSocket(nil, proto, 3, %)",
		"server":   "ta.CreateServer(nil, proto, \"tcp\", \"a:1\", %)",
		"streams":  "ta.StartServer(nil, nil, \"tcp\", \"a:1\", %)",
		"datagram": "ta.CreateDatagramEndpoint(nil, packets, \"udp\", \"a:1\", \"\", %)",
		"starttls": "ta.StartTLS(nil, nil, nil, nil, false, %)",
	}
	client, server, both := "connect unix open", "server streams", "connect unix open accepted server streams"
	fits := map[string]string{ // option → the calls that take it; no other does
		"ta.WithTLS(nil)":              both,
		"ta.WithHandshakeTimeout(1)":   both + " starttls",
		"ta.WithShutdownTimeout(1)":    both + " starttls",
		"ta.WithRaggedEOF()":           both + " starttls",
		"ta.WithServerHostname(\"a\")": client + " starttls",
		"ta.WithIdleTimeout(1)":        both,
		"ta.WithFirstByteTimeout(1)":   both,
		"ta.WithWriteLimit(1)":         both + " datagram",
		"ta.WithKeepAlive(true)":       both,
		"ta.WithSocket(3)":             client + " " + server + " datagram",
		"ta.WithLimit(1)":              client + " " + server,
		"ta.WithHappyEyeballs(1)":      client,
		"ta.WithInterleave(1)":         client,
		"ta.WithAllErrors()":           client,
		"ta.WithLocalAddress(\"a\")":   client,
		"ta.WithBacklog(1)":            server,
		"ta.WithAddresses(\"a\")":      server,
		"ta.WithLoops()":               server,
		"ta.WithReuseAddress(true)":    server,
		"ta.WithStartServing(true)":    server,
		"ta.WithReusePort(true)":       server + " datagram",
		"ta.WithTakeOver(true)":        server + " datagram",
		"ta.WithCleanupSocket(true)":   server + " datagram",
		"ta.WithMode(0)":               server + " datagram",
		"ta.WithBroadcast(true)":       "datagram",
	}
	check := checker(t)
	for option, list := range fits {
		for name, call := range calls {
			err := check(strings.Replace(call, "%", option, 1))
			if want := strings.Contains(" "+list+" ", " "+name+" "); want != (err == nil) {
				t.Errorf("%s in %s: it should compile: %v; the compiler: %v", option, name, want, err)
			}
		}
	}
	if err := check("ta.Transport(stranger{})"); err == nil {
		t.Error("a type of another package is a Transport")
	}
}

// checker says what the type checker makes of one expression.
func checker(t *testing.T) func(expr string) error {
	t.Helper()
	const head = `package p
import ta "github.com/loopmesh/loopmesh/transportactors"
type stranger struct{ ta.Protocol }
func proto() ta.Protocol { return nil }
func packets() ta.DatagramProtocol { return nil }
var _ = ta.ErrClosed
`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", head, 0)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := (&types.Config{Importer: importer.ForCompiler(fset, "gc", exports(t))}).Check("p", fset, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(expr string) error {
		_, err := types.Eval(fset, pkg, file.End(), expr)
		return err
	}
}

// exports finds what the compiler has written about this package and those under it.
func exports(t *testing.T) importer.Lookup {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}
