package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

func TestGoldenTLS(t *testing.T) {
	t.Run("the life of a TLS connection, start_tls, who is not trusted", func(t *testing.T) {
		golden(t, "g28_tls", func(t *testing.T, say func(...any)) {
			_, server, client := certificates(t)
			w := &secure{server: server, client: client}
			sideParts(t, say, w.clientCloses, w.closedAtOnce, w.flush, w.untrusted, w.startTLS)
		})
	})
}

// secure is what the two ends of a TLS connection have.
type secure struct{ server, client *tls.Config }

// connect connects two sides over TLS; the failure is the client's.
func (w *secure) connect(ctx context.Context, there, here *side, config *tls.Config, name string) error {
	s, address, err := listen(ctx, there, transportactors.WithTLS(w.server))
	if err != nil {
		return err
	}
	defer s.Close()
	err = dial(ctx, here, address, transportactors.WithTLS(config), transportactors.WithServerHostname(name))
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) {
		here.say("not trusted")
		return nil
	}
	if err != nil {
		return err
	}
	return there.until(ctx, "connection_made")
}

func (w *secure) clientCloses(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.read = upper
	if err := w.connect(ctx, there, here, w.client, "localhost"); err != nil {
		return err
	}
	certificate := func(s *side) string {
		c, _ := s.t.ExtraInfo("peercert").(*x509.Certificate)
		return pythonBool(c != nil)
	}
	here.say("cipher:", pythonBool(here.t.ExtraInfo("cipher") != nil), "certificate:", certificate(here))
	there.say("certificate:", certificate(there))
	here.say("can end its output:", pythonBool(here.t.CanWriteEOF()))
	refused(here.party, here.t.WriteEOF(), transportactors.ErrNoWriteEOF, "it cannot")
	err := errors.Join(here.t.Write([]byte("hello ")), here.t.Writelines([][]byte{[]byte("wor"), []byte("ld")}),
		here.until(ctx, "data HELLO WORLD"))
	here.t.Close()
	here.say("closing:", pythonBool(here.t.IsClosing()))
	err = errors.Join(err, untilLost(ctx, here.party, there.party))
	tell(say, "the client closes", there.party, here.party)
	return err
}

func (w *secure) closedAtOnce(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.made = func(s *side) { s.t.Close() }
	err := errors.Join(w.connect(ctx, there, here, w.client, "localhost"), untilLost(ctx, here.party, there.party))
	tell(say, "the server closes at once", there.party, here.party)
	return err
}

func (w *secure) flush(ctx context.Context, say func(...any)) error {
	there, here := ends()
	there.read = func(s *side, _ []byte) {
		_ = s.t.Write(make([]byte, 500000))
		s.t.Close()
	}
	if err := w.connect(ctx, there, here, w.client, "localhost"); err != nil {
		return err
	}
	err := errors.Join(here.t.Write([]byte("get")), untilLost(ctx, here.party, there.party))
	there.without("pause_writing", "resume_writing")
	tell(say, "what is queued leaves before the end", there.party, here.party)
	return err
}

func (w *secure) untrusted(ctx context.Context, say func(...any)) error {
	for _, stranger := range []struct {
		part   string
		config *tls.Config
		name   string
	}{
		{"a stranger's certificate", &tls.Config{RootCAs: x509.NewCertPool()}, "localhost"},
		{"another name", w.client, "elsewhere"},
	} {
		there, here := ends()
		if err := w.connect(ctx, there, here, stranger.config, stranger.name); err != nil {
			return err
		}
		tell(say, stranger.part, there.party, here.party)
	}
	return nil
}

func (w *secure) startTLS(ctx context.Context, say func(...any)) error {
	there, here := ends()
	upgrade := func(ctx context.Context, s *side, config *tls.Config, server bool, opts ...transportactors.StartTLSOption) error {
		t, err := transportactors.StartTLS(ctx, s.t, s, config, server, opts...)
		if err == nil {
			s.t = t
			s.say("secure")
		}
		return err
	}
	there.read = func(s *side, b []byte) {
		if string(b) != "STARTTLS" {
			upper(s, b)
			return
		}
		_ = s.t.Write([]byte("go"))
		loopnode.CreateTask(s.t.Context(), "", noResult(func(ctx context.Context) error {
			return upgrade(ctx, s, w.server, true)
		}))
	}
	if err := pair(ctx, there, here); err != nil {
		return err
	}
	err := errors.Join(here.t.Write([]byte("STARTTLS")), here.until(ctx, "data go"),
		upgrade(ctx, here, w.client, false, transportactors.WithServerHostname("localhost")),
		there.until(ctx, "secure"))
	if err != nil {
		return err
	}
	err = errors.Join(here.t.Write([]byte("hello")), here.until(ctx, "data HELLO"))
	here.t.Close()
	err = errors.Join(err, untilLost(ctx, here.party, there.party))
	tell(say, "start_tls", there.party, here.party)
	return err
}
