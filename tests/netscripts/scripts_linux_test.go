package netscripts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

const patience = 30 * time.Second

var (
	count = flag.Int("scripts", 400, "how many scripts to run")
	first = flag.Uint64("seed", 1, "the seed of the first one")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// TestScripts runs a few scripts at a time on one loop.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	config := certificate(t)
	err := loopnode.Run(t.Context(), func(ctx context.Context) error {
		next := *first
		var tasks []loopnode.Awaitable[struct{}]
		for range 8 {
			tasks = append(tasks, loopnode.Go(ctx, "scripts", func(ctx context.Context) error {
				for next < *first+uint64(*count) {
					s := newScript(next)
					next++
					limited, cancel := context.WithTimeout(ctx, patience)
					err := play(limited, s, dir, config)
					cancel()
					if err != nil {
						t.Errorf("%v\n%v", err, s)
					}
				}
				return nil
			}))
		}
		_, err := loopnode.Gather(ctx, tasks...)
		return err
	}, loopnode.WithoutSignals(), loopnode.WithConfig(loopnode.Config{MaxWorkers: 32}))
	if err != nil {
		t.Fatal(err)
	}
}

// play runs one script.
func play(ctx context.Context, s *script, dir string, config *tls.Config) error {
	e := &end{s: s}
	address := "127.0.0.1:0"
	if s.network == "unix" {
		address = filepath.Join(dir, fmt.Sprint(s.seed))
	}
	var p *peer
	var err error
	if s.server {
		p, err = serve(ctx, e, address, config)
	} else {
		p, err = connect(ctx, e, address, config)
	}
	if err != nil {
		return err
	}
	faults := append(e.verdict(p.sent), p.verdict(e.taken, e.out.at))
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w\ncallbacks: %q", err, e.log)
	}
	return nil
}

// protocol is the end as a protocol of one kind or the other.
func (e *end) protocol() transportactors.Protocol {
	if e.s.buffered {
		return cup{e}
	}
	return e
}

// converse lets both ends do their steps and waits for both.
func converse(ctx context.Context, e *end, p *peer, config *tls.Config, begin func(ctx context.Context) error) error {
	other := loopnode.Go(ctx, "peer", func(ctx context.Context) error {
		_, err := loopnode.ToThread(ctx, func(context.Context) (struct{}, error) { return struct{}{}, p.talk(config) })
		return err
	})
	if err := begin(ctx); err != nil {
		return err
	}
	err := e.run(ctx)
	_, theirs := other.Await(ctx)
	if err = errors.Join(err, theirs); err != nil {
		return fmt.Errorf("%w\n%w\ncallbacks: %q", err, errors.Join(e.faults...), e.log)
	}
	return nil
}

func serve(ctx context.Context, e *end, address string, config *tls.Config) (*peer, error) {
	var opts []transportactors.ServerOption
	if e.s.tls {
		opts = append(opts, transportactors.WithTLS(config))
	}
	server, err := transportactors.CreateServer(ctx, e.protocol, e.s.network, address, opts...)
	if err != nil {
		return nil, err
	}
	p := &peer{s: e.s}
	at := server.Addrs()[0]
	p.raw, err = loopnode.ToThread(ctx, func(context.Context) (net.Conn, error) { return net.Dial(at.Network(), at.String()) })
	if err != nil {
		return nil, err
	}
	return p, server.Scope(ctx, func(ctx context.Context) error {
		return converse(ctx, e, p, config, func(ctx context.Context) error {
			return e.until(ctx, func() bool { return e.made })
		})
	})
}

func connect(ctx context.Context, e *end, address string, config *tls.Config) (*peer, error) {
	ln, err := net.Listen(e.s.network, address)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	var opts []transportactors.ConnectOption
	if e.s.tls {
		opts = append(opts, transportactors.WithTLS(config), transportactors.WithServerHostname(config.ServerName))
	}
	accepted := loopnode.CreateTask(ctx, "accept", func(ctx context.Context) (net.Conn, error) {
		return loopnode.ToThread(ctx, func(context.Context) (net.Conn, error) { return ln.Accept() })
	})
	p := &peer{s: e.s}
	begin := func(ctx context.Context) error {
		_, _, err := transportactors.CreateConnection(ctx, e.protocol, e.s.network, ln.Addr().String(), opts...)
		return err
	}
	if e.s.tls { // the handshake needs the other end
		made := loopnode.Go(ctx, "connect", begin)
		if p.raw, err = accepted.Await(ctx); err != nil {
			return nil, err
		}
		return p, converse(ctx, e, p, config, func(ctx context.Context) error { _, err := made.Await(ctx); return err })
	}
	if err := begin(ctx); err != nil {
		return nil, err
	}
	if p.raw, err = accepted.Await(ctx); err != nil {
		return nil, err
	}
	return p, converse(ctx, e, p, config, func(context.Context) error { return nil })
}

// certificate is a configuration for both ends.
func certificate(t *testing.T) *tls.Config {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	config := server.TLS.Clone()
	config.RootCAs = x509.NewCertPool()
	config.RootCAs.AddCert(server.Certificate())
	config.ServerName = "example.com"
	return config
}
