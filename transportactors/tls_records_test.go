package transportactors

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The kinds of TLS 1.3 records, and the handshake message that asks for new keys.
const (
	kindAlert     = 21
	kindHandshake = 22
	kindData      = 23

	messageKeyUpdate = 24
)

// tlsRecords makes the records that the server of an overSink may send after
// its handshake. crypto/tls cannot be made to send a KeyUpdate, so the records
// are sealed here, with the secret from the server's key log (RFC 8446, 5.2).
type tlsRecords struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// newRecords finds the server's secret in a key log.
func newRecords(keyLog string) (*tlsRecords, error) {
	for lines := bufio.NewScanner(strings.NewReader(keyLog)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); f[0] == "SERVER_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err == nil && len(secret) != sha256.Size {
				err = errors.New("the cipher suite is not TLS_AES_128_GCM_SHA256")
			}
			r := &tlsRecords{}
			return r, errors.Join(err, r.use(secret))
		}
	}
	return nil, errors.New("no secret in the key log")
}

// use begins a new generation of keys.
func (r *tlsRecords) use(secret []byte) error {
	key, err := expandLabel(secret, "key", 16)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	r.secret, r.seq = secret, 0
	r.iv, err = expandLabel(secret, "iv", 12)
	if err != nil {
		return err
	}
	r.aead, err = cipher.NewGCM(block)
	return err
}

func expandLabel(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len(label)))
	info = append(append(info, label...), 0)
	return hkdf.Expand(sha256.New, secret, string(info), n)
}

// seal is one record of kind.
func (r *tlsRecords) seal(kind byte, payload []byte) []byte {
	nonce := bytes.Clone(r.iv)
	for i, b := range binary.BigEndian.AppendUint64(nil, r.seq) {
		nonce[4+i] ^= b
	}
	r.seq++
	inner := append(bytes.Clone(payload), kind)
	header := []byte{kindData, 3, 3}
	header = binary.BigEndian.AppendUint16(header, uint16(len(inner)+r.aead.Overhead()))
	return r.aead.Seal(header, nonce, inner, header)
}

// keyUpdate is the message that changes our keys and, when answer is set, asks
// the other side to change its own and say so.
func (r *tlsRecords) keyUpdate(answer bool) []byte {
	request := byte(0)
	if answer {
		request = 1
	}
	record := r.seal(kindHandshake, []byte{messageKeyUpdate, 0, 0, 1, request})
	next, err := expandLabel(r.secret, "traffic upd", sha256.Size)
	if err = errors.Join(err, r.use(next)); err != nil {
		panic(err)
	}
	return record
}

// recordWorld is a TLS client over a sink whose server's records the test makes.
type recordWorld struct {
	lower   *sink
	client  *tlsTransport
	p       *probe
	records *tlsRecords
}

// overRecords runs fn as a task with such a world.
func overRecords(t testing.TB, ctx context.Context, fn func(w *recordWorld) error) error {
	t.Helper()
	var keyLog bytes.Buffer
	server := theTLSWorld().serverConfig()
	server.KeyLogWriter = &keyLog
	server.SessionTicketsDisabled = true // a ticket would be a record of the server's own
	server.MinVersion = tls.VersionTLS13
	w := &recordWorld{lower: &sink{loop: mustLoop(ctx)}, p: newProbe(ctx)}
	client, end := overSinkWith(t, ctx, w.lower, w.p, server)
	defer end()
	w.client = client
	client.resumed() // as behind a handshake
	var err error
	if w.records, err = newRecords(keyLog.String()); err != nil {
		return err
	}
	if suite := client.conn.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		return fmt.Errorf("the suite is %s", tls.CipherSuiteName(suite))
	}
	return fn(w)
}

// receive gives the client bytes as one read of the lower transport does.
func (w *recordWorld) receive(b []byte) {
	for len(b) > 0 && w.client.phase < tlsFailed {
		n := copy(w.client.GetBuffer(-1), b)
		w.client.BufferUpdated(n)
		b = b[n:]
	}
}
