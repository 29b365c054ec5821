package transportactors_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// printer is a protocol that prints what it gets and tells when it is over.
type printer struct {
	over *loopnode.Future[error]
}

func newPrinter(ctx context.Context) *printer {
	l, _ := loopnode.Running(ctx)
	return &printer{loopnode.NewFuture[error](l)}
}

func (p *printer) ConnectionMade(transportactors.Transport) {}
func (p *printer) DataReceived(b []byte)                    { fmt.Printf("%s", b) }
func (p *printer) ConnectionLost(reason error)              { _ = p.over.SetResult(reason) }

// A client whose protocol is called by the loop.
func ExampleCreateConnection() {
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		server, err := transportactors.StartServer(ctx, greet, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer server.Close()
		t, p, err := transportactors.CreateConnection(ctx, func() *printer { return newPrinter(ctx) }, "tcp", server.Addrs()[0].String())
		if err != nil {
			return err
		}
		if err := t.Write([]byte("Grace\n")); err != nil {
			return err
		}
		reason, err := p.over.Await(ctx) // the server closes when it has answered
		if err != nil {
			return err
		}
		return reason
	}))
	// Output:
	// hello, Grace
	// <nil>
}

// A server that is closed when the function returns, and a client that reads lines.
func ExampleServer_Scope() {
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		server, err := transportactors.StartServer(ctx, greet, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		return server.Scope(ctx, func(ctx context.Context) error {
			c, err := transportactors.OpenConnection(ctx, "tcp", server.Addrs()[0].String())
			if err != nil {
				return err
			}
			defer c.Close()
			fmt.Fprintln(c, "Edsger")
			line, err := c.ReadLine()
			fmt.Printf("%s", line)
			return err
		})
	}))
	// Output:
	// hello, Edsger
	// <nil>
}

// A UNIX server; its client asks who the server is.
func ExampleCreateUnixServer() {
	dir, _ := os.MkdirTemp("", "example")
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		server, err := transportactors.CreateUnixServer(ctx, func() transportactors.Protocol { return &upper{} }, path, transportactors.WithMode(0o600))
		if err != nil {
			return err
		}
		defer server.Close()
		c, err := transportactors.OpenUnixConnection(ctx, path)
		if err != nil {
			return err
		}
		defer c.Close()
		peer := c.Transport().ExtraInfo("peercred").(transportactors.PeerCred)
		fmt.Println("the same user:", peer.UID == os.Getuid())
		return nil
	}))
	// Output:
	// the same user: true
	// <nil>
}

// TLS on both sides. The client trusts the server's certificate, which it was given.
func ExampleWithTLS() {
	cert, pool := selfSigned("localhost")
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		server, err := transportactors.StartServer(ctx, greet, "tcp", "127.0.0.1:0",
			transportactors.WithTLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
		if err != nil {
			return err
		}
		defer server.Close()
		c, err := transportactors.OpenConnection(ctx, "tcp", server.Addrs()[0].String(),
			transportactors.WithTLS(&tls.Config{RootCAs: pool}), transportactors.WithServerHostname("localhost"))
		if err != nil {
			return err
		}
		defer c.Close()
		state, _ := c.Transport().TLS()
		fmt.Fprintln(c, tls.VersionName(state.Version))
		answer, err := c.ReadLine()
		fmt.Printf("%s", answer)
		return err
	}))
	// Output:
	// hello, TLS 1.3
	// <nil>
}

// selfSigned is a certificate for name, and a pool that trusts it.
func selfSigned(name string) (tls.Certificate, *x509.CertPool) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// A file goes to a peer; on a plain connection the kernel sends it.
func ExampleSendfile() {
	file, _ := os.CreateTemp("", "example")
	defer os.Remove(file.Name())
	defer file.Close()
	_, _ = file.WriteString("from the file\n")
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		server, err := transportactors.StartServer(ctx, func(ctx context.Context, s *transportactors.Stream) error {
			_, err := transportactors.Sendfile(ctx, s.Transport(), file, 0, loopnode.ToEnd)
			return err
		}, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer server.Close()
		c, err := transportactors.OpenConnection(ctx, "tcp", server.Addrs()[0].String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.Copy(os.Stdout, c)
		return err
	}))
	// Output:
	// from the file
	// <nil>
}

// A goroutine outside of the loop writes to a connection: by its Ref.
func ExampleRef() {
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		server, err := transportactors.StartServer(ctx, greet, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer server.Close()
		t, p, err := transportactors.CreateConnection(ctx, func() *printer { return newPrinter(ctx) }, "tcp", server.Addrs()[0].String())
		if err != nil {
			return err
		}
		ref := t.Ref()
		wrote := loopnode.RunInExecutor(ctx, nil, func() (struct{}, error) {
			return struct{}{}, ref.WriteWait(context.Background(), []byte("goroutine\n"))
		})
		if _, err := wrote.Await(ctx); err != nil {
			return err
		}
		_, err = p.over.Await(ctx)
		return err
	}))
	// Output:
	// hello, goroutine
	// <nil>
}
