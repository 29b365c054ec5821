//go:build foreign && linux

package conformance

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// output runs a program that gets input, and gives what it prints; it runs on
// the executor of the task's loop.
func output(ctx context.Context, input string, name string, args ...string) (string, error) {
	return loopnode.ToThread(ctx, func(ctx context.Context) (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.Output()
		return string(out), err
	})
}

// TestForeignHalfClose: the other end ends its output, and hears the answer.
func TestForeignHalfClose(t *testing.T) {
	folder, _, trusting := certificates(t)
	serve := func(t *testing.T, client func(ctx context.Context, address string) (string, error), opts ...transportactors.ServerOption) {
		inTask(t, func(ctx context.Context, _ *loopnode.Loop) error {
			s, err := transportactors.StartServer(ctx, func(_ context.Context, s *transportactors.Stream) error {
				all, err := io.ReadAll(s)
				if err != nil {
					return err
				}
				_, err = io.WriteString(s, strings.ToUpper(string(all)))
				return err
			}, "tcp", "127.0.0.1:0", opts...)
			if err != nil {
				return err
			}
			out, err := client(ctx, s.Addrs()[0].String())
			if out != "QUESTION" {
				t.Errorf("the client hears %q", out)
			}
			s.Close()
			return errors.Join(err, s.WaitClosed(ctx))
		})
	}
	t.Run("a client of asyncio", func(t *testing.T) {
		serve(t, func(ctx context.Context, address string) (string, error) {
			return output(ctx, "", "python3", "-c", halfClient, address)
		})
	})
	t.Run("socat", func(t *testing.T) {
		serve(t, func(ctx context.Context, address string) (string, error) {
			return output(ctx, "question", "socat", "-t", "20", "-", "TCP:"+address)
		})
	})
	for _, tls := range []bool{false, true} {
		name, args, opts := "a server of asyncio", []string{"-c", halfServer}, []transportactors.ConnectOption(nil)
		if tls {
			name, args = "a server of asyncio over TLS", append(args, folder)
			opts = append(opts, transportactors.WithTLS(trusting), transportactors.WithServerHostname("localhost"))
		}
		t.Run(name, func(t *testing.T) { halfAgainst(t, !tls, opts, args...) })
	}
}

// halfAgainst talks to a server of Python's that prints its address.
func halfAgainst(t *testing.T, eof bool, opts []transportactors.ConnectOption, args ...string) {
	cmd := exec.CommandContext(t.Context(), "python3", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	inTask(t, func(ctx context.Context, _ *loopnode.Loop) error {
		s, err := transportactors.OpenConnection(ctx, "tcp", strings.TrimSpace(address), opts...)
		if err != nil {
			return err
		}
		_, err = io.WriteString(s, "question\n")
		if eof {
			err = errors.Join(err, s.CloseWrite())
		}
		all, failed := io.ReadAll(s)
		if string(all) != "QUESTION\n" {
			t.Errorf("the server answers %q", all)
		}
		return errors.Join(err, failed, s.Close(), s.WaitClosed())
	})
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

const halfClient = `
import asyncio, sys
async def main():
    host, port = sys.argv[1].split(":")
    r, w = await asyncio.open_connection(host, int(port))
    w.write(b"question")
    w.write_eof()
    print((await r.read()).decode(), end="")
    w.close()
    await w.wait_closed()
asyncio.run(main())
`

// With a folder it speaks TLS, which has no half-close: then it reads a line.
const halfServer = `
import asyncio, ssl, sys
async def main():
    context = None
    if len(sys.argv) > 1:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[1] + "/cert.pem", sys.argv[1] + "/key.pem")
    done = asyncio.Event()
    async def handle(r, w):
        w.write((await (r.readline() if context else r.read())).upper())
        w.close()
        await w.wait_closed()
        done.set()
    s = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    print("%s:%d" % s.sockets[0].getsockname(), flush=True)
    await done.wait()
asyncio.run(main())
`
