package transportactors

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// tlsOptions is what the caller said about TLS.
type tlsOptions struct {
	config         *tls.Config
	wanted         bool
	hostname       *string
	handshakeLimit *time.Duration
	shutdown       *time.Duration
	ragged         bool
}

const (
	defaultHandshake = time.Minute
	defaultShutdown  = 30 * time.Second
	oldestTLS        = tls.VersionTLS12
)

// WithTLS makes the connection, or the connections of a server, speak TLS with
// a copy of config. TLS 1.2 is the oldest version whatever config says. A
// client verifies the server against &tls.Config{} and the name it connects to;
// a server needs a certificate in config. asyncio: ssl.
func WithTLS(config *tls.Config) ConnOption {
	return option(func(o *options) { o.tls.config, o.tls.wanted = config, true })
}

// WithServerHostname is the name a TLS client asks for and finds in the
// certificate, instead of the one it connects to. An empty name asks for none
// and accepts any name in a certificate that is otherwise good. asyncio:
// server_hostname.
func WithServerHostname(name string) interface {
	ConnectOption
	StartTLSOption
} {
	return option(func(o *options) { o.tls.hostname = &name })
}

// WithHandshakeTimeout is how long a TLS handshake may take, 60 s unless said.
// asyncio: ssl_handshake_timeout.
func WithHandshakeTimeout(d time.Duration) interface {
	ConnOption
	StartTLSOption
} {
	return option(func(o *options) { o.tls.handshakeLimit = &d })
}

// WithShutdownTimeout is how long a TLS connection that closes waits for the
// peer to take the rest and to answer close_notify, 30 s unless said. asyncio:
// ssl_shutdown_timeout.
func WithShutdownTimeout(d time.Duration) interface {
	ConnOption
	StartTLSOption
} {
	return option(func(o *options) { o.tls.shutdown = &d })
}

// WithRaggedEOF makes the end of a TLS peer's stream without close_notify an orderly
// one instead of ErrTruncated: for protocols that tell a whole message from half of
// one, with peers that send no close_notify. asyncio always does.
func WithRaggedEOF() interface {
	ConnOption
	StartTLSOption
} {
	return option(func(o *options) { o.tls.ragged = true })
}

// tlsSetup is TLS as one connection or server does it. It does not change.
type tlsSetup struct {
	config         *tls.Config
	client         bool
	nameless       bool // the chain is verified by us, without a name
	ragged         bool
	handshakeLimit time.Duration
	shutdown       time.Duration
}

// client is the set-up for a connection to host; nil without TLS.
func (o *tlsOptions) client(host string) (*tlsSetup, error) {
	s, err := o.setup()
	if s == nil || err != nil {
		return nil, err
	}
	s.client = true
	switch {
	case o.hostname != nil:
		s.config.ServerName = *o.hostname
	case s.config.ServerName == "":
		s.config.ServerName = host
	}
	switch {
	case s.config.ServerName != "":
	case o.hostname == nil:
		return nil, invalid("TLS needs the server's name: use WithServerHostname, with an empty name for a server that has none")
	case !s.config.InsecureSkipVerify:
		s.nameless = true
		verifyNameless(s.config)
	}
	return s, nil
}

// server is the set-up for accepted connections; nil without TLS.
func (o *tlsOptions) server() (*tlsSetup, error) {
	s, err := o.setup()
	if err == nil && o.hostname != nil {
		err = invalid("WithServerHostname is for clients")
	}
	if s == nil || err != nil {
		return nil, err
	}
	c := s.config
	if len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		return nil, invalid("a TLS server needs a certificate: set Certificates, GetCertificate or GetConfigForClient")
	}
	if pick := c.GetConfigForClient; pick != nil {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			picked, err := pick(hello)
			if picked != nil && picked.MinVersion != 0 && picked.MinVersion < oldestTLS {
				picked = picked.Clone()
				picked.MinVersion = oldestTLS
			}
			return picked, err
		}
	}
	return s, nil
}

// setup is what both sides have in common.
func (o *tlsOptions) setup() (*tlsSetup, error) {
	switch {
	case !o.wanted && (o.hostname != nil || o.handshakeLimit != nil || o.shutdown != nil || o.ragged):
		return nil, invalid("WithServerHostname, WithHandshakeTimeout, WithShutdownTimeout and WithRaggedEOF need WithTLS")
	case !o.wanted:
		return nil, nil
	case o.config == nil:
		return nil, invalid("the TLS configuration is nil; &tls.Config{} is a client's safe default")
	case o.config.MaxVersion != 0 && o.config.MaxVersion < oldestTLS:
		return nil, invalid("the TLS configuration allows at most %s; TLS 1.2 is the oldest spoken here", tls.VersionName(o.config.MaxVersion))
	case o.config.Renegotiation != tls.RenegotiateNever:
		return nil, invalid("the TLS configuration allows renegotiation, which is not supported; leave it at tls.RenegotiateNever")
	}
	s := &tlsSetup{config: o.config.Clone(), ragged: o.ragged, handshakeLimit: defaultHandshake, shutdown: defaultShutdown}
	s.config.MinVersion = max(s.config.MinVersion, oldestTLS)
	if o.handshakeLimit != nil {
		s.handshakeLimit = *o.handshakeLimit
	}
	if o.shutdown != nil {
		s.shutdown = *o.shutdown
	}
	switch {
	case s.handshakeLimit <= 0:
		return nil, invalid("the TLS handshake timeout must be positive, got %s", s.handshakeLimit)
	case s.shutdown <= 0:
		return nil, invalid("the TLS shutdown timeout must be positive, got %s", s.shutdown)
	}
	return s, nil
}

// verifyNameless verifies the chain and leaves out the name, which crypto/tls
// cannot do alone.
func verifyNameless(c *tls.Config) {
	next := c.VerifyConnection
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: c.RootCAs, Intermediates: x509.NewCertPool()}
		if c.Time != nil {
			opts.CurrentTime = c.Time()
		}
		for _, cert := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		if _, err := cs.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		if next != nil {
			return next(cs)
		}
		return nil
	}
}
