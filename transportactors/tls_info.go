package transportactors

import (
	"crypto/tls"
	"net"
)

// Cipher is what protects a TLS connection: ExtraInfo("cipher").
type Cipher struct {
	Name     string // as in RFC 8446 and the registry, TLS_AES_128_GCM_SHA256
	Protocol string // TLS 1.2, TLS 1.3
	Bits     int    // of the key
}

// ExtraInfo adds to what the lower transport knows. "compression" is always nil:
// crypto/tls has none.
func (t *tlsTransport) ExtraInfo(name string) any {
	switch name {
	case "sslcontext":
		return t.setup.config
	case "compression":
		return nil
	case "paused":
		return t.whyPaused(t.WriteBufferSize())
	case "ssl_object", "peercert", "cipher":
		if t.handshake != nil || t.conn == nil {
			return nil // Why not ask: crypto/tls holds its locks during the handshake
		}
		return t.secured(name)
	}
	if t.lower == nil {
		return nil
	}
	return t.lower.ExtraInfo(name)
}

// TLS is the state of the connection once the handshake is complete.
func (t *tlsTransport) TLS() (state tls.ConnectionState, ok bool) {
	if t.handshake != nil || t.conn == nil {
		return state, false // Why not ask: crypto/tls holds its locks during the handshake
	}
	state = t.conn.ConnectionState()
	return state, state.HandshakeComplete
}

func (t *tlsTransport) LocalAddr() net.Addr {
	if t.lower == nil {
		return nil
	}
	return t.lower.LocalAddr()
}

func (t *tlsTransport) RemoteAddr() net.Addr {
	if t.lower == nil {
		return nil
	}
	return t.lower.RemoteAddr()
}

// Socket is that of the lower transport.
func (t *tlsTransport) Socket() *Socket {
	if t.lower == nil {
		return &Socket{number: -1}
	}
	return t.lower.Socket()
}

func (*tlsTransport) sealed() {}

func (t *tlsTransport) secured(name string) any {
	cs := t.conn.ConnectionState()
	switch {
	case !cs.HandshakeComplete:
	case name == "ssl_object":
		return cs
	case name == "cipher":
		return Cipher{tls.CipherSuiteName(cs.CipherSuite), tls.VersionName(cs.Version), keyBits(cs.CipherSuite)}
	case len(cs.VerifiedChains) > 0, t.setup.nameless:
		return cs.PeerCertificates[0]
	}
	return nil
}

func keyBits(suite uint16) int {
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA:
		return 128
	case tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA:
		return 112
	}
	return 256
}
