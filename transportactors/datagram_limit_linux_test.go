package transportactors

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
)

// silentPackets is a datagram protocol that does nothing.
type silentPackets struct{}

func (silentPackets) ConnectionMade(DatagramTransport) {}
func (silentPackets) DatagramReceived([]byte, Addr)    {}
func (silentPackets) ErrorReceived(error)              {}
func (silentPackets) ConnectionLost(error)             {}

func TestDatagramWriteLimit(t *testing.T) {
	t.Run("a peer that takes no packets costs a bounded queue, and the endpoint goes on", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			defer unix.Close(fd)
			path := filepath.Join(t.TempDir(), "deaf")
			must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
			tr, _, err := CreateDatagramEndpoint(ctx, func() silentPackets { return silentPackets{} }, "unixgram", "", path, WithWriteLimit(256<<10))
			must(t, err)
			defer tr.Abort()
			most := 0
			for range 10_000 {
				if err = tr.SendTo(make([]byte, 1000), Addr{}); err != nil {
					break
				}
				most = max(most, tr.WriteBufferSize())
			}
			if !errors.Is(err, ErrWriteLimit) || most > 256<<10 || tr.IsClosing() {
				return fmt.Errorf("up to %d bytes waited, closing %v, %w", most, tr.IsClosing(), err)
			}
			for tr.WriteBufferSize() > 0 { // the peer takes them after all
				if _, err := unix.Read(fd, make([]byte, 2000)); err != nil {
					return err
				}
				must(t, turns(ctx, 1))
			}
			return tr.SendTo([]byte("again"), Addr{})
		})
	})
}
