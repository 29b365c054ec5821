//go:build foreign

package transportactors

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// files writes the authority's and the server's certificate and the server's
// key for foreign programs.
func (w *tlsWorld) files(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	der, err := x509.MarshalPKCS8PrivateKey(w.server.PrivateKey)
	must(t, err)
	return write("ca.pem", "CERTIFICATE", w.cert.Raw), write("cert.pem", "CERTIFICATE", w.server.Certificate[0]), write("key.pem", "PRIVATE KEY", der)
}

// foreigner is a foreign program with its pipes.
type foreigner struct {
	*exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	ended  chan struct{}
	result error
}

// foreign starts a program, which ends with the test at the latest.
func foreign(t *testing.T, name string, args ...string) *foreigner {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	p := &foreigner{Cmd: exec.CommandContext(ctx, name, args...), ended: make(chan struct{})}
	var err error
	p.in, err = p.StdinPipe()
	must(t, err)
	out, w, err := os.Pipe()
	must(t, err)
	p.Stdout, p.Stderr = w, w
	p.out = bufio.NewReader(out)
	must(t, p.Start())
	must(t, w.Close())
	// goroutine: owner: the test; ends with the program.
	go func() {
		p.result = p.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		stop()
		<-p.ended
		_ = out.Close()
	})
	return p
}

// line waits for a line that contains text and returns it.
func (p *foreigner) line(text string) (string, error) {
	var seen strings.Builder
	for {
		line, err := p.out.ReadString('\n')
		if strings.Contains(line, text) {
			return strings.TrimSpace(line), nil
		}
		seen.WriteString(line)
		if err != nil {
			return "", fmt.Errorf("no %q in %q: %w", text, seen.String(), err)
		}
	}
}

func (p *foreigner) say(text string) error {
	_, err := io.WriteString(p.in, text)
	return err
}

// end closes the program's input and waits for its exit.
func (p *foreigner) end() error {
	_ = p.in.Close() // closed already when the program was faster
	<-p.ended
	return p.result
}

func TestTLSForeignClient(t *testing.T) {
	ca, _, _ := theTLSWorld().files(t)
	client := func(t *testing.T, s *Server, args ...string) *foreigner {
		return foreign(t, "openssl", append([]string{"s_client", "-connect", s.Addrs()[0].String(), "-CAfile", ca,
			"-verify_return_error", "-verify_hostname", "localhost", "-servername", "localhost", "-quiet", "-no_ign_eof"}, args...)...)
	}
	t.Run("TLS-01 openssl s_client is served; TLS-12 both say goodbye", func(t *testing.T) {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				p := newProbe(ctx)
				p.onData = func(b []byte) { _ = p.t.Write(append([]byte("echo "), b...)) }
				s, err := serveTLS(ctx, p)
				must(t, err)
				_, err = aside(ctx, func() (int, error) {
					c := client(t, s, version)
					if err := c.say("hello\n"); err != nil {
						return 0, err
					}
					if _, err := c.line("echo hello"); err != nil {
						return 0, err
					}
					return 0, c.end()
				})
				must(t, err)
				s.Close()
				return errors.Join(p.wait(ctx), s.WaitClosed(ctx), logged(p, "made", "data", "eof", "lost"))
			})
		}
	})
	t.Run("TLS-13 a stopped openssl has its time", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			p.onData = func(b []byte) { _ = p.t.Write(b) }
			s, err := serveTLS(ctx, p, WithShutdownTimeout(100*time.Millisecond))
			must(t, err)
			c := client(t, s)
			_, err = aside(ctx, func() (int, error) {
				if err := c.say("hello\n"); err != nil {
					return 0, err
				}
				if _, err := c.line("hello"); err != nil {
					return 0, err
				}
				return 0, c.Process.Signal(syscall.SIGSTOP)
			})
			must(t, err)
			p.t.Close()
			if reason := p.wait(ctx); !errors.Is(reason, loopnode.ErrTimeout) {
				t.Errorf("the reason is %v", reason)
			}
			s.Close()
			return errors.Join(c.Process.Kill(), s.WaitClosed(ctx))
		})
	})
	t.Run("TLS-23 openssl s_client -starttls upgrades a mail server", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			s, err := StartServer(ctx, smtp, "tcp", "127.0.0.1:0")
			must(t, err)
			_, err = aside(ctx, func() (int, error) {
				c := client(t, s, "-starttls", "smtp")
				if err := c.say("NOOP\r\n"); err != nil {
					return 0, err
				}
				if _, err := c.line("250 secure NOOP"); err != nil {
					return 0, err
				}
				return 0, c.end()
			})
			must(t, err)
			s.Close()
			must(t, s.WaitClosed(ctx))
			if len(*told) != 0 {
				t.Errorf("told %v", *told)
			}
			return nil
		})
	})
	t.Run("TLS-23 Python's asyncio is a client, from the start and by start_tls", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			s, err := StartServer(ctx, smtp, "tcp", "127.0.0.1:0")
			must(t, err)
			echo := newProbe(ctx)
			echo.onData = func(b []byte) { _ = echo.t.Write(b) }
			direct, err := serveTLS(ctx, echo)
			must(t, err)
			_, err = aside(ctx, func() (int, error) {
				c := foreign(t, "python3", "-c", pythonTLSClient, s.Addrs()[0].String(), direct.Addrs()[0].String(), ca)
				_, err := c.line("all is well")
				return 0, errors.Join(err, c.end())
			})
			must(t, err)
			s.Close()
			direct.Close()
			if len(*told) != 0 {
				t.Errorf("told %v", *told)
			}
			return errors.Join(echo.wait(ctx), s.WaitClosed(ctx), direct.WaitClosed(ctx), logged(echo, "made", "data", "eof", "lost"))
		})
	})
}

// smtp is as much of a mail server as STARTTLS needs.
func smtp(_ context.Context, s *Stream) error {
	if _, err := io.WriteString(s, "220 ready\r\n"); err != nil {
		return err
	}
	mode := "plain"
	lines := bufio.NewReader(s)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch command := strings.TrimSpace(line); {
		case strings.HasPrefix(command, "EHLO"):
			_, err = io.WriteString(s, "250-here\r\n250 STARTTLS\r\n")
		case command == "STARTTLS":
			mode = "secure"
			if _, err = io.WriteString(s, "220 go\r\n"); err == nil {
				err = s.StartTLS(theTLSWorld().serverConfig(), true)
			}
		default:
			_, err = fmt.Fprintf(s, "250 %s %s\r\n", mode, command)
		}
		if err != nil {
			return err
		}
	}
}

const pythonTLSClient = `
import asyncio, ssl, sys
def address(s): h, p = s.rsplit(":", 1); return h, int(p)
async def main():
    context = ssl.create_default_context(cafile=sys.argv[3])
    r, w = await asyncio.open_connection(*address(sys.argv[1]))
    await r.readline()
    w.write(b"STARTTLS\r\n")
    assert await r.readline() == b"220 go\r\n"
    await w.start_tls(context, server_hostname="localhost")
    w.write(b"NOOP\r\n")
    assert await r.readline() == b"250 secure NOOP\r\n"
    w.close()
    await w.wait_closed()
    r, w = await asyncio.open_connection(*address(sys.argv[2]), ssl=context, server_hostname="localhost")
    w.write(b"x")
    assert await r.readexactly(1) == b"x"
    w.close()
    await w.wait_closed()
    print("all is well")
asyncio.run(main())
`

func TestTLSForeignServer(t *testing.T) {
	ca, cert, key := theTLSWorld().files(t)
	server := func(t *testing.T, args ...string) (*foreigner, string, error) {
		p := foreign(t, "openssl", append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key, "-naccept", "1"}, args...)...)
		line, err := p.line("ACCEPT 127.0.0.1:")
		return p, strings.TrimPrefix(line, "ACCEPT "), err
	}
	t.Run("TLS-01 openssl s_server is understood, with a certificate of ours and its protocol", func(t *testing.T) {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				far, at, err := server(t, version, "-rev", "-alpn", "loop/1", "-Verify", "1", "-CAfile", ca, "-verify_return_error")
				must(t, err)
				p := newProbe(ctx)
				client := theTLSWorld().clientConfig()
				client.NextProtos = []string{"loop/1"}
				tr, err := dialTLS(ctx, p, at, WithTLS(client), WithServerHostname("localhost"))
				must(t, err)
				if cs := tr.ExtraInfo("ssl_object").(tls.ConnectionState); cs.NegotiatedProtocol != "loop/1" {
					t.Errorf("negotiated %q", cs.NegotiatedProtocol)
				}
				must(t, tr.Write([]byte("hello\n")))
				must(t, eventually(ctx, func() bool { return strings.Contains(string(p.data), "olleh") }))
				tr.Close()
				must(t, p.wait(ctx))
				_, err = aside(ctx, func() (int, error) { return 0, far.end() })
				return err
			})
		}
	})
	t.Run("TLS-29 openssl asks for a renegotiation and is refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			far, at, err := server(t, "-tls1_2")
			must(t, err)
			p := newProbe(ctx)
			_, err = dialTLS(ctx, p, at)
			must(t, err)
			_, err = aside(ctx, func() (int, error) { return 0, far.say("R\n") })
			must(t, err)
			if reason := p.wait(ctx); reason == nil || !strings.Contains(reason.Error(), "no renegotiation") {
				t.Errorf("the reason is %v", reason)
			}
			_ = far.Process.Kill()
			return nil
		})
	})
	t.Run("TLS-23 Python's asyncio is a server, by start_tls", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			far := foreign(t, "python3", "-c", pythonTLSServer, cert, key)
			at, err := far.line("127.0.0.1:")
			must(t, err)
			s, err := OpenConnection(ctx, "tcp", at)
			must(t, err)
			lines := bufio.NewReader(s)
			_, err = io.WriteString(s, "STARTTLS\n")
			must(t, err)
			if line, err := lines.ReadString('\n'); line != "go\n" {
				return fmt.Errorf("got %q, %w", line, err)
			}
			must(t, s.StartTLS(&tls.Config{RootCAs: theTLSWorld().pool}, false, WithServerHostname("localhost")))
			_, err = io.WriteString(s, "hello\n")
			must(t, err)
			if line, err := lines.ReadString('\n'); line != "secure hello\n" {
				return fmt.Errorf("got %q, %w", line, err)
			}
			_ = s.Close()
			must(t, s.WaitClosed())
			_, err = aside(ctx, func() (int, error) { return 0, far.end() })
			return err
		})
	})
}

const pythonTLSServer = `
import asyncio, ssl, sys
async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    done = asyncio.Event()
    async def handle(r, w):
        assert await r.readline() == b"STARTTLS\n"
        w.write(b"go\n")
        await w.start_tls(context)
        w.write(b"secure " + await r.readline())
        assert await r.read() == b""
        w.close()
        done.set()
    s = await asyncio.start_server(handle, "127.0.0.1", 0)
    print("%s:%d" % s.sockets[0].getsockname(), flush=True)
    await done.wait()
asyncio.run(main())
`
