package transportactors

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// catcher is a datagram protocol that records and does what a test sets.
type catcher struct {
	t      DatagramTransport
	log    []string
	from   []Addr
	errs   []error
	reason error
	lost   *loopnode.Future[error]
	news   *loopnode.Future[struct{}]

	onMade   func(DatagramTransport)
	onData   func([]byte, Addr)
	onError  func(error)
	onPause  func()
	onResume func()
}

func newCatcher(ctx context.Context) *catcher {
	l, err := loopnode.Running(ctx)
	if err != nil {
		panic(err)
	}
	return &catcher{lost: loopnode.NewFuture[error](l), news: loopnode.NewFuture[struct{}](l)}
}

func (c *catcher) note(text string) {
	c.log = append(c.log, text)
	if !c.news.Done() {
		_ = c.news.SetResult(struct{}{})
	}
}

func (c *catcher) ConnectionMade(t DatagramTransport) {
	c.t = t
	c.note("made")
	if c.onMade != nil {
		c.onMade(t)
	}
}

func (c *catcher) DatagramReceived(b []byte, from Addr) {
	c.from = append(c.from, from)
	text := string(b)
	if len(b) > 100 {
		text = fmt.Sprintf("%d bytes", len(b))
	}
	c.note("got " + text)
	if c.onData != nil {
		c.onData(b, from)
	}
}

func (c *catcher) ErrorReceived(err error) {
	c.errs = append(c.errs, err)
	c.note("error")
	if c.onError != nil {
		c.onError(err)
	}
}

func (c *catcher) PauseWriting() {
	c.note("pause")
	if c.onPause != nil {
		c.onPause()
	}
}

func (c *catcher) ResumeWriting() {
	c.note("resume")
	if c.onResume != nil {
		c.onResume()
	}
}

func (c *catcher) ConnectionLost(err error) {
	c.reason = err
	c.note("lost")
	_ = c.lost.SetResult(err)
}

// until waits until the log holds n entries.
func (c *catcher) until(ctx context.Context, n int) error {
	for len(c.log) < n {
		if _, err := c.news.Await(ctx); err != nil {
			return fmt.Errorf("the log has %d of %d entries: %q: %w", len(c.log), n, c.log, err)
		}
		l, _ := loopnode.Running(ctx)
		c.news = loopnode.NewFuture[struct{}](l)
	}
	return nil
}

// wants compares the log with what was expected, once it is as long.
func (c *catcher) wants(ctx context.Context, log ...string) error {
	if err := c.until(ctx, len(log)); err != nil {
		return err
	}
	if got := strings.Join(c.log, "|"); got != strings.Join(log, "|") {
		return fmt.Errorf("the log is %q, not %q", c.log, log)
	}
	return nil
}

// at makes an endpoint with a catcher.
func at(ctx context.Context, network, local, remote string, opts ...DatagramOption) (*datagram, *catcher, error) {
	t, c, err := CreateDatagramEndpoint(ctx, func() *catcher { return newCatcher(ctx) }, network, local, remote, opts...)
	if err != nil {
		return nil, nil, err
	}
	return t.(*datagram), c, nil
}

// here is the address of an endpoint.
func here(t DatagramTransport) Addr { return t.ExtraInfo("sockname").(Addr) }

// both are an unconnected endpoint and one that is connected to it.
func both(ctx context.Context) (server, client *datagram, sc, cc *catcher, err error) {
	if server, sc, err = at(ctx, "udp4", "127.0.0.1:0", ""); err != nil {
		return
	}
	client, cc, err = at(ctx, "udp4", "", here(server).String())
	return
}

// plain is a socket of package net for the other side.
func plain(t *testing.T) (*net.UDPConn, Addr) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c, UDPAddr(c.LocalAddr().(*net.UDPAddr).AddrPort())
}

// closedPort is a UDP port of loopback that nobody has.
func closedPort(t *testing.T) Addr {
	c, a := plain(t)
	must(t, c.Close())
	return UDPAddr(a.AddrPort())
}

func place(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name) }
