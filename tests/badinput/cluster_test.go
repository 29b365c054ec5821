package badinput

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
)

var (
	double = cluster.Func("bad.double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	echo   = cluster.Func("bad.echo", func(_ context.Context, s string) (string, error) { return s, nil })
	throw  = cluster.Func("bad.throw", func(context.Context, int) (int, error) { panic(errMine) })
	leave  = cluster.Func("bad.leave", func(context.Context, int) (int, error) { goexit(); return 0, nil })
	infect = cluster.Func("bad.infect", func(_ context.Context, f float64) (float64, error) { return f, nil })
)

// begin is Start that has to fail.
func begin(cfg cluster.Config) func(e *env) error {
	return func(e *env) error {
		cfg.Logger = hclog.NewNullLogger()
		return elsewhere(func() error {
			ctx, stop := context.WithTimeout(context.Background(), patience)
			defer stop()
			n, err := cluster.Start(ctx, cfg)
			if err == nil {
				n.Close()
				return nil
			}
			return second(n, err)
		})
	}
}

// onNode runs do beside a node with the loop "io", away from any loop.
func onNode(do func(e *env, n *cluster.Node) error) func(e *env) error {
	return func(e *env) error {
		return elsewhere(func() error {
			ctx, stop := context.WithTimeout(context.Background(), patience)
			defer stop()
			n, err := cluster.Start(ctx, cluster.Config{Name: "n1", Logger: hclog.NewNullLogger()})
			if err != nil {
				return err
			}
			defer n.Close()
			if _, err := n.NewLoop("io"); err != nil {
				return err
			}
			e.ctx = ctx
			return do(e, n)
		})
	}
}

// call calls f on address of another node than n1, so that it goes by NATS.
func call[In, Out any](f *cluster.Function[In, Out], address string, in In) func(e *env) error {
	return onNode(func(e *env, n *cluster.Node) error {
		other, err := cluster.Start(e.ctx, cluster.Config{Name: "n2", Beside: n, Logger: hclog.NewNullLogger()})
		if err != nil {
			return err
		}
		defer other.Close()
		ref, err := other.Ref(address)
		if err != nil {
			return err
		}
		_, err = f.Via(other).Call(e.ctx, ref, in)
		return err
	})
}

func TestClusterConfig(t *testing.T) {
	refused := func(name string, cfg cluster.Config, says ...string) row {
		return row{name: name, do: begin(cfg), is: cluster.ErrConfig, says: says}
	}
	rows := []row{
		refused("two sources", cluster.Config{URL: "nats://127.0.0.1:1", Join: []string{"127.0.0.1:1"}}, "URL, Join and Beside exclude each other"),
		refused("a store without a server", cluster.Config{Name: "n1", URL: "nats://127.0.0.1:1", StoreDir: "x"}, "StoreDir", "remove one side"),
		refused("no port to listen at", cluster.Config{Listen: "127.0.0.1"}, `Listen is "127.0.0.1"`, "host:port"),
		refused("port 65536 to listen at", cluster.Config{Listen: "127.0.0.1:65536"}, "65536", "host:port"),
		refused("port -1 to listen at", cluster.Config{Listen: ":-1"}, "-1", "host:port"),
		refused("a negative heartbeat", cluster.Config{Heartbeat: -1}, "negative", "0 for the default"),
		refused("a negative limit", cluster.Config{MaxInbound: -1}, "negative"),
		refused("death before the second heartbeat", cluster.Config{Heartbeat: time.Second, DeadAfter: time.Second}, "DeadAfter 1s", "live nodes"),
		refused("heartbeats without end", cluster.Config{Heartbeat: math.MaxInt64}, "Heartbeat"),
		refused("a payload of 9 MiB", cluster.Config{MaxPayload: 9 << 20}, "MaxPayload", "stream"),
		refused("an unknown scheme", cluster.Config{URL: "http://127.0.0.1:1"}, "URL", "http", "nats://"),
		refused("a URL with a line break", cluster.Config{URL: "nats://127.0.0.1\n:1"}, "URL"),
		refused("an empty address to join", cluster.Config{Join: []string{""}}, "Join"),
		refused("a server beside nothing that lives", cluster.Config{Credentials: "/nonexistent/creds", URL: "nats://127.0.0.1:1"}, "Credentials", "/nonexistent/creds"),
	}
	for _, name := range []string{"a/b", "a.*", ">", " ", "$SYS", "ä", "a\x00", strings.Repeat("n", 65)} {
		rows = append(rows, refused("the name "+name, cluster.Config{Name: name}, "Name", "letters, digits, - and _"))
	}
	check(t, append(rows,
		row{name: "nobody at the URL", is: cluster.ErrDisconnected, says: []string{"nats://user:xxxxx@127.0.0.1:", "is it running"}, do: func(e *env) error {
			err := begin(cluster.Config{URL: "nats://user:secret@" + closedPort(e)})(e)
			if err != nil && strings.Contains(err.Error(), "secret") {
				e.Errorf("%v tells the password", err)
			}
			return err
		}},
		row{name: "nobody to join", is: cluster.ErrDisconnected, says: []string{"127.0.0.1:", "is it running"}, do: func(e *env) error {
			return begin(cluster.Config{Join: []string{closedPort(e)}})(e)
		}},
		row{name: "a store that is a file", is: os.ErrExist, says: []string{"store"}, do: func(e *env) error {
			path := filepath.Join(e.TempDir(), "f")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			err := begin(cluster.Config{Name: "n1", StoreDir: path})(e)
			if err != nil {
				err = errors.Join(os.ErrExist, err) // what the kernel says differs
			}
			return err
		}},
		row{name: "a name that is taken", is: cluster.ErrNameTaken, says: []string{"n1", "choose another Config.Name"}, do: onNode(func(e *env, n *cluster.Node) error {
			return begin(cluster.Config{Name: "n1", Beside: n})(e)
		})},
		row{name: "beside a node that was closed", is: cluster.ErrConfig, says: []string{"Beside", "closed"}, do: onNode(func(e *env, n *cluster.Node) error {
			n.Close()
			n.Close()
			return begin(cluster.Config{Name: "n3", Beside: n})(e)
		})},
		row{name: "a ctx that is over", is: context.Canceled, do: func(*env) error {
			ctx, stop := context.WithCancel(context.Background())
			stop()
			return elsewhere(func() error { return second(cluster.Start(ctx, cluster.Config{Logger: hclog.NewNullLogger()})) })
		}},
	))
}

// closedPort is an address of loopback where nobody listens.
func closedPort(e *env) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.Fatal(err)
	}
	_ = ln.Close()
	return ln.Addr().String()
}

func TestClusterCalls(t *testing.T) {
	check(t, []row{
		{name: "no slash", do: call(double, "n1", 1), is: actors.ErrBadAddress, says: []string{`"n1"`, "slash"}},
		{name: "an empty address", do: call(double, "", 1), is: actors.ErrBadAddress},
		{name: "a node with a wildcard", do: call(double, "*/io", 1), is: actors.ErrBadAddress, says: []string{`"*"`, "letters, digits"}},
		{name: "incarnation 0", do: call(double, "n1@0/io", 1), is: actors.ErrBadAddress, says: []string{`"0"`, "positive number"}},
		{name: "an unknown node", do: call(double, "n9/io", 1), is: cluster.ErrUnknownNode, says: []string{"n9"}},
		{name: "an earlier life", do: call(double, "n1@1/io", 1), is: cluster.ErrDeadIncarnation, says: []string{"n1"}},
		{name: "an unknown loop", do: call(double, "n1/nope", 1), is: cluster.ErrUnknownLoop, says: []string{"nope"}},
		{name: "infinity, which JSON does not know", do: call(infect, "n1/io", math.Inf(1))},
		{name: "an argument of 2 MiB", do: call(echo, "n1/io", strings.Repeat("x", 2<<20)), is: cluster.ErrTooLarge, says: []string{"1048576"}},
		{name: "a function that panics", do: call(throw, "n1/io", 1), is: cluster.ErrPanic, says: []string{"bad.throw", "n1/io", "mine"}},
		{name: "a function that calls Goexit", do: call(leave, "n1/io", 1), says: []string{"bad.leave", "Goexit"}, is: loopnode.ErrGoexit},
		{name: "an argument of another type", is: cluster.ErrBadPayload, says: []string{"string", "int"}, do: onNode(func(e *env, n *cluster.Node) error {
			ref, err := n.Ref("n1/io")
			if err != nil {
				return err
			}
			_, err = n.CallJSON(e.ctx, ref, "bad.double", []byte(`"text"`))
			return err
		})},
		{name: "an argument that is no JSON", is: cluster.ErrBadPayload, do: onNode(func(e *env, n *cluster.Node) error {
			ref, err := n.Ref("n1/io")
			if err != nil {
				return err
			}
			_, err = n.CallJSON(e.ctx, ref, "bad.double", []byte(`{`))
			return err
		})},
		{name: "an unknown function", is: cluster.ErrUnknownFunction, says: []string{"bad.nope"}, do: onNode(func(e *env, n *cluster.Node) error {
			ref, err := n.Ref("n1/io")
			if err != nil {
				return err
			}
			_, err = n.CallJSON(e.ctx, ref, "bad.nope", []byte(`1`))
			return err
		})},
		{name: "a call to the zero Ref", is: cluster.ErrUnknownLoop, do: onNode(func(e *env, n *cluster.Node) error {
			_, err := double.Via(n).Call(e.ctx, loopnode.Ref{}, 1)
			return err
		})},
		{name: "a call through a closed node", is: cluster.ErrClosed, do: onNode(func(e *env, n *cluster.Node) error {
			n.Close()
			_, err := double.Via(n).Call(e.ctx, loopnode.RemoteRef(actors.Address{Node: "n2", Path: "io"}), 1)
			return err
		})},
		{name: "no loop to host", is: cluster.ErrConfig, says: []string{"loop"}, do: onNode(func(_ *env, n *cluster.Node) error {
			_, err := n.Host(nil)
			return err
		})},
		{name: "a closed loop to host", is: cluster.ErrClosed, do: onNode(func(e *env, n *cluster.Node) error {
			_, err := n.Host(closedLoop(e))
			return err
		})},
		{name: "a loop's name that is taken", is: cluster.ErrNameTaken, says: []string{"io"}, do: onNode(func(_ *env, n *cluster.Node) error {
			_, err := n.NewLoop("io")
			return err
		})},
		{name: "a loop's name with a wildcard", is: cluster.ErrConfig, says: []string{`a.*`, "letters, digits"}, do: onNode(func(_ *env, n *cluster.Node) error {
			_, err := n.NewLoop("a.*")
			return err
		})},
		{name: "a nil option of a loop", do: onNode(func(_ *env, n *cluster.Node) error {
			_, err := n.NewLoop("io-2", nil)
			return err
		})},
		{name: "nothing to call when it ends", is: cluster.ErrConfig, says: []string{"function"}, do: onNode(func(_ *env, n *cluster.Node) error {
			ref, err := n.Ref("n1/io")
			if err != nil {
				return err
			}
			_, err = n.Watch(ref, nil)
			return err
		})},
	})
}
