package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// Certificates. They encrypt the connections between nodes and servers and between
// servers, and keep programs that are not of the cluster from the port. The name and
// the rights of a node are in its statement, not here (see the package's text). The
// cluster has an authority
// of its own, because the question that a certificate answers is "of this cluster?",
// which a public authority cannot know. There is no list of revoked certificates: a
// revoked node gets through TLS and is then refused at its login. A route between
// voters has no login, so the certificate of a voter opens one until it expires.

const (
	authorityValid = 10 * 365 * 24 * time.Hour
	backdate       = time.Hour // so that a clock that is a little behind accepts it
	voterUnit      = "voter"   // organizational unit of the certificate of a voter
)

// authority is the certificate authority of one cluster.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes the self-signed certificate of the authority and its key. It may
// sign certificates of nodes and no further authorities (MaxPathLenZero). It is valid
// for ten years, because a new one means new folders for all nodes.
func newAuthority(cluster string, now time.Time) (*authority, []byte, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "loopmesh cluster " + cluster},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityValid),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, nil, err
	}
	keyPEM, err := encodeKey(key)
	return &authority{cert, key}, encodeCert(der), keyPEM, err
}

// readAuthority reads what newAuthority has made, for a later Add or Rotate.
func readAuthority(certPEM, keyPEM []byte) (*authority, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, fmt.Errorf("%w: the files of the certificate authority cannot be read", ErrInvalid)
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, fileCA, err)
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, fileCAKey, err)
	}
	return &authority{cert, key}, nil
}

// issue makes the certificate and key of a node, as one PEM file. One certificate
// serves as client and as server, since a voter is both. The names of this machine
// are always in it, so that nodes of one machine can use the loopback address. The
// voter's mark lets it open routes (RouteTLS).
func (a *authority) issue(n Node, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: n.Name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(n.valid()),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if n.Voter {
		template.Subject.OrganizationalUnit = []string{voterUnit}
	}
	for _, host := range slices.Concat(n.Hosts, []string{"localhost", "127.0.0.1", "::1"}) {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	return append(encodeCert(der), keyPEM...), err
}

// serial draws a number of 127 random bits: unlike a counter it needs no state, and
// no two are alike.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	b[0] &= 0x7f           // a serial number is positive
	return new(big.Int).SetBytes(b[:])
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
