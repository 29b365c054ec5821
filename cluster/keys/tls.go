package keys

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// The TLS settings ask current for the keys at each handshake, so that new keys
// need no restart.

// ServerTLS is for the port that nodes connect to: a client needs a certificate of
// this cluster.
func ServerTLS(current func() *Identity) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert,
		GetCertificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &current().cert, nil },
		VerifyConnection: func(s tls.ConnectionState) error { return current().check(s, x509.ExtKeyUsageClientAuth) },
	}
}

// RouteTLS is for connections between voters, in both directions: the other side
// needs a certificate that says "voter". Why: who comes in as a server may publish
// whatever it likes.
func RouteTLS(current func() *Identity) *tls.Config {
	c := ServerTLS(current)
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &current().cert, nil }
	c.RootCAs = current().cas // Go checks the server's name against it before the function below
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if err := current().check(s, x509.ExtKeyUsageAny); err != nil {
			return err
		}
		if !isVoter(s.PeerCertificates[0]) {
			return fmt.Errorf("the certificate of %s is not one of a voter", s.PeerCertificates[0].Subject.CommonName)
		}
		return nil
	}
	return c
}

// ClientTLS is for a node that connects to a server of its cluster.
func ClientTLS(current func() *Identity) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: current().cas,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &current().cert, nil },
	}
}

// check is what a server does about the certificate of a peer. It says in plain
// words what is wrong, since the peer hears only "bad certificate".
func (id *Identity) check(s tls.ConnectionState, usage x509.ExtKeyUsage) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the peer shows no certificate")
	}
	leaf := s.PeerCertificates[0]
	if now := time.Now(); now.After(leaf.NotAfter) {
		return fmt.Errorf("the certificate of %s expired on %s: make new keys with 'loopmesh keys rotate'", leaf.Subject.CommonName, leaf.NotAfter.Format(time.DateOnly))
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: id.cas, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

// CertificateExpires is until when the node's certificate is accepted.
func (id *Identity) CertificateExpires() time.Time { return id.cert.Leaf.NotAfter }
