//go:build foreign

package transportactors

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// foreignProgram runs a foreign program away from the loop and returns what it prints.
func foreignProgram(ctx context.Context, input, name string, args ...string) (string, error) {
	return aside(ctx, func() (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return string(out), err
	})
}

// packetClient sends datagrams of several sizes, an empty one among them, to an
// endpoint that answers each, and checks what comes back.
const packetClient = `
import asyncio, sys
class Client(asyncio.DatagramProtocol):
    def __init__(self): self.got = asyncio.Queue()
    def datagram_received(self, data, addr): self.got.put_nowait(data)
    def error_received(self, exc): self.got.put_nowait(exc)
async def main():
    loop = asyncio.get_running_loop()
    family, *where = sys.argv[1:]
    kw = dict(remote_addr=(where[0], int(where[1]))) if family == 'udp' else dict(remote_addr=where[0], local_addr=where[1], family=1)
    transport, protocol = await loop.create_datagram_endpoint(Client, **kw)
    for size in (1, 512, 1400, 60000):
        transport.sendto(bytes([size % 251]) * size)
        data = await asyncio.wait_for(protocol.got.get(), 10)
        assert data == b're ' + bytes([size % 251]) * size, (size, data)
    transport.close()
    print('fine')
asyncio.run(main())
`

// packetServer answers every datagram and ends with the word end.
const packetServer = `
import asyncio
class Server(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.t = transport
    def datagram_received(self, data, addr):
        self.t.sendto(b're ' + data, addr)
        if data == b'end': done.set()
async def main():
    global done
    done = asyncio.Event()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=('127.0.0.1', 0))
    print(transport.get_extra_info('sockname')[1], flush=True)
    await asyncio.wait_for(done.wait(), 15)
    transport.close()
asyncio.run(main())
`

func answering(sc *catcher) func([]byte, Addr) {
	return func(b []byte, from Addr) { _ = sc.t.SendTo(append([]byte("re "), b...), from) }
}

func TestForeignDatagrams(t *testing.T) {
	t.Run("a client of asyncio, over UDP and UNIX", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			udp, up, err := at(ctx, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			path := place(t, "s")
			gram, gp, err := at(ctx, "unixgram", path, "")
			if err != nil {
				return err
			}
			up.onData, gp.onData = answering(up), answering(gp)
			out, err := foreignProgram(ctx, "", "python3", "-c", packetClient, "udp", "127.0.0.1", fmt.Sprint(here(udp).AddrPort().Port()))
			if out != "fine\n" {
				t.Errorf("%q", out)
			}
			out, err2 := foreignProgram(ctx, "", "python3", "-c", packetClient, "unix", path, path+"c")
			if out != "fine\n" || gp.from[0].Path() != path+"c" {
				t.Errorf("%q, %v", out, gp.from)
			}
			udp.Close()
			gram.Close()
			return errors.Join(err, err2, up.wait(ctx), gp.wait(ctx))
		})
	})
	t.Run("a server of asyncio", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			cmd := exec.CommandContext(ctx, "python3", "-c", packetServer)
			pipe, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			port, err := aside(ctx, func() (port int, err error) { _, err = fmt.Fscan(pipe, &port); return })
			if err != nil {
				return err
			}
			d, c, err := at(ctx, "udp", "", fmt.Sprint("localhost:", port))
			if err != nil {
				return err
			}
			for _, text := range []string{"", "one", "end"} {
				must(t, d.SendTo([]byte(text), Addr{}))
			}
			err = c.wants(ctx, "made", "got re ", "got re one", "got re end")
			d.Close()
			_, ended := aside(ctx, func() (int, error) { return 0, cmd.Wait() })
			return errors.Join(err, ended, c.wait(ctx))
		})
	})
	t.Run("DPR-01 nc -u and socat get an answer", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, err := at(ctx, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			c.onData = answering(c)
			port := fmt.Sprint(here(d).AddrPort().Port())
			out, err := foreignProgram(ctx, "hello", "nc", "-u", "-W", "1", "127.0.0.1", port)
			if out != "re hello" {
				t.Errorf("nc got %q", out)
			}
			out, err2 := foreignProgram(ctx, "hello", "socat", "-t", "5", "-", "UDP4:127.0.0.1:"+port+",shut-null")
			if !strings.HasPrefix(out, "re hello") {
				t.Errorf("socat got %q", out)
			}
			d.Close()
			return errors.Join(err, err2, c.wait(ctx))
		})
	})
}

func TestForeignUnixStreams(t *testing.T) {
	for _, path := range []string{place(t, "s"), "@loopmesh-foreign"} {
		t.Run("UNX-01 socat and python talk to a server at "+path[:1], func(t *testing.T) {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				s, err := StartUnixServer(ctx, func(_ context.Context, s *Stream) error {
					buf := make([]byte, 1<<16)
					for {
						n, err := s.Read(buf)
						if err != nil {
							return nil
						}
						if _, err := s.Write(buf[:n]); err != nil {
							return err
						}
					}
				}, path)
				if err != nil {
					return err
				}
				big := strings.Repeat("loopmesh ", 100_000)
				to := "UNIX-CONNECT:" + path
				if path[0] == '@' {
					to = "ABSTRACT-CONNECT:" + path[1:]
				}
				out, err := foreignProgram(ctx, big, "socat", "-t", "10", "-", to)
				if out != big {
					t.Errorf("socat got %d bytes", len(out))
				}
				out, err2 := foreignProgram(ctx, "", "python3", "-c", `
import asyncio, sys
async def main():
    path = sys.argv[1]
    r, w = await asyncio.open_unix_connection(path.replace('@', '\0') if path[0] == '@' else path)
    w.write(b'ping'); w.write_eof()
    print(await r.read())
    w.close()
asyncio.run(main())`, path)
				if out != "b'ping'\n" {
					t.Errorf("python got %q", out)
				}
				s.Close()
				return errors.Join(err, err2, s.WaitClosed(ctx))
			})
		})
	}
	t.Run("UNX-08 socat writes and leaves at once", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			path := place(t, "s")
			s, p, err := unixServer(ctx, path)
			if err != nil {
				return err
			}
			big := strings.Repeat("x", 1<<20)
			_, err = foreignProgram(ctx, big, "socat", "-u", "-", "UNIX-CONNECT:"+path)
			if err := p.wait(ctx); err != nil {
				return err
			}
			if string(p.data) != big {
				t.Errorf("%d bytes", len(p.data))
			}
			s.Close()
			return err
		})
	})
	t.Run("a client of ours and a server of socat", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			path := place(t, "s")
			cmd := exec.CommandContext(ctx, "socat", "-t", "10", "UNIX-LISTEN:"+path, "EXEC:cat")
			must(t, cmd.Start())
			var c *Stream
			var err error
			for c == nil { // until it listens
				if c, err = OpenUnixConnection(ctx, path); err != nil {
					if err := loopnode.Sleep(ctx, lastRetry); err != nil {
						return err
					}
				}
			}
			_, err = c.Write([]byte("hello"))
			err = errors.Join(err, c.CloseWrite())
			buf := make([]byte, 64)
			n, rerr := c.Read(buf)
			if string(buf[:n]) != "hello" {
				t.Errorf("%q", buf[:n])
			}
			must(t, c.Close())
			_, ended := aside(ctx, func() (int, error) { return 0, cmd.Wait() })
			return errors.Join(err, rerr, c.WaitClosed(), ended)
		})
	})
}
