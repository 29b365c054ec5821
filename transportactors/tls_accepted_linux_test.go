package transportactors

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestTLSAccepted(t *testing.T) {
	t.Run("ACC-01 an accepted socket can be the server of a handshake", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			ours, theirs := socketPair(t)
			f := os.NewFile(uintptr(theirs), "theirs")
			c, err := net.FileConn(f)
			must(t, errors.Join(err, f.Close()))
			defer c.Close()
			must(t, c.SetDeadline(time.Now().Add(patience)))
			p := newProbe(ctx)
			back := loopnode.RunInExecutor(ctx, nil, func() (string, error) {
				tc := tls.Client(c, &tls.Config{RootCAs: theTLSWorld().pool, ServerName: "localhost"})
				if _, err := io.WriteString(tc, "hello"); err != nil {
					return "", err
				}
				all, err := io.ReadAll(tc)
				_ = tc.Close()
				return string(all), err
			})
			p.onData = func(b []byte) { _ = p.t.Write(append([]byte("echo "), b...)); p.t.Close() }
			tr, _, err := ConnectAcceptedSocket(ctx, func() *probe { return p }, ours, WithTLS(theTLSWorld().serverConfig()))
			must(t, err)
			if tr != p.t || p.log[0] != "made" {
				return fmt.Errorf("returned with %v", p.log)
			}
			if got, err := back.Await(ctx); err != nil || got != "echo hello" {
				return fmt.Errorf("got %q, %w", got, err)
			}
			return p.wait(ctx)
		})
	})
}
