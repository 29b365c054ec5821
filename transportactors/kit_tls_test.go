package transportactors_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/transporttest"
)

// loopback is a certificate for 127.0.0.1 and who trusts it.
func loopback(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plan := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, plan, plan, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}

func TestContractOfTLS(t *testing.T) {
	server, client := loopback(t)
	transporttest.Run(t, transporttest.Kind{Goodbye: true, Pair: func(ctx context.Context, here, there transportactors.Protocol) error {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		accepted := loopnode.NewFuture[struct{}](l)
		s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol {
			_ = accepted.SetResult(struct{}{})
			return there
		}, "tcp", "127.0.0.1:0", transportactors.WithTLS(server))
		if err != nil {
			return err
		}
		defer s.Close()
		if _, _, err := transportactors.CreateConnection(ctx, func() transportactors.Protocol { return here }, "tcp", s.Addrs()[0].String(), transportactors.WithTLS(client)); err != nil {
			return err
		}
		_, err = accepted.Await(ctx)
		return err
	}})
}
