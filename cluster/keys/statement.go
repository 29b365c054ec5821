package keys

import (
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/loopmesh/loopmesh/cluster/internal/subject"
)

// Statements: JWTs in the form of nats-server, each signed with an nkey by the one
// above it.
//
//	operator ──signs──▶ account of the nodes ──signs──▶ node (a user in NATS's words)
//	         ──signs──▶ account of the servers (system)
//
// A server knows the operator's and both accounts' statements; a node shows its own
// at each connection. So a new node needs no change on a server.

// signer is an nkey with its seed, the form in which it is kept.
type signer struct {
	pair nkeys.KeyPair
	pub  string
	seed []byte
}

func newSigner(make func() (nkeys.KeyPair, error)) (*signer, error) {
	pair, err := make()
	if err != nil {
		return nil, err
	}
	return signerOf(pair)
}

// readSigner reads a seed; the public key follows from it.
func readSigner(seed []byte) (*signer, error) {
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("%w: a seed cannot be read: %w", ErrInvalid, err)
	}
	return signerOf(pair)
}

func signerOf(pair nkeys.KeyPair) (*signer, error) {
	pub, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	seed, err := pair.Seed()
	return &signer{pair, pub, seed}, err
}

// systemStatement is about the account of the servers. It lets the account of the
// nodes hear when a client of its own comes or goes: nothing else, and of no other
// account (AccountTokenPosition: the third token of the subject must be the account
// that asks).
func systemStatement(system, operator *signer) (string, error) {
	c := jwt.NewAccountClaims(system.pub)
	c.Name = "system"
	for _, what := range []string{"CONNECT", "DISCONNECT"} {
		c.Exports.Add(&jwt.Export{
			Name: "clients that " + what, Subject: jwt.Subject(subject.Notices("*", what)), Type: jwt.Stream, AccountTokenPosition: 3,
		})
	}
	return c.Encode(operator.pair)
}

// accountClaims is about the account of the nodes: it imports the notices of the
// system account, and may use JetStream without a limit of its own; the server's
// limits hold. The revoked keys are added to it later (Revoke).
func accountClaims(cluster, account, system string) *jwt.AccountClaims {
	c := jwt.NewAccountClaims(account)
	c.Name = cluster
	c.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	for _, what := range []string{"CONNECT", "DISCONNECT"} {
		c.Imports.Add(&jwt.Import{
			Name: "clients that " + what, Account: system, Subject: jwt.Subject(subject.Notices(account, what)), Type: jwt.Stream,
		})
	}
	return c
}

// credentials makes a new nkey for a node and the statement about it: which subjects
// it may publish and hear, which end in its name and its rights, and until when. That
// is the whole of access control: a server that enforces the statement enforces the
// rights.
func credentials(cluster string, n Node, account *signer, now time.Time) (file []byte, public string, err error) {
	user, err := newSigner(nkeys.CreateUser)
	if err != nil {
		return nil, "", err
	}
	grants, err := ParseGrants(n.Grants)
	if err != nil {
		return nil, "", err
	}
	c := jwt.NewUserClaims(user.pub)
	c.Name = n.Name
	c.Expires = now.Add(n.valid()).Unix()
	c.AllowedConnectionTypes.Add(jwt.ConnectionTypeStandard, jwt.ConnectionTypeInProcess)
	s := subject.New(cluster, n.Name, 0, grants.Token())
	c.Pub.Allow.Add(s.Publish()...)
	if n.Voter || grants.Admin() {
		c.Pub.Allow.Add(s.MakeStreams()...)
	}
	c.Sub.Allow.Add(s.Subscribe()...)
	text, err := c.Encode(account.pair)
	if err != nil {
		return nil, "", err
	}
	file, err = jwt.FormatUserConfig(text, user.seed)
	return file, user.pub, err
}
