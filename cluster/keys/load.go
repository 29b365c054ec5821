package keys

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// The reading half of package keys, which nodes use: their own folder, with nothing
// in it that signs for others. An Identity is a snapshot, so that a connection and
// its TLS handshake see one state of the folder; the engine compares Stamp, and reads
// again when it has changed.

// Identity is what one node's folder held when it was read. It does not change;
// Load again for what the folder holds later. All methods are safe from any
// goroutine.
type Identity struct {
	Node    string
	Cluster string
	Voter   bool // its certificate says so
	Grants  Grants
	Account string // public key of the cluster's account
	Expires time.Time

	// The signed statements: of the node, of the operator, the servers' account and
	// the nodes' account.
	Statement, Operator, System, Members string

	key  nkeys.KeyPair
	cert tls.Certificate
	cas  *x509.CertPool
}

// Load reads the keys of a node: dir is its own folder (nodes/NAME) or the whole
// key folder, then name says which node. With name set the keys must be of that
// node. Errors: ErrUnknown, ErrPermissions, ErrInvalid.
func Load(dir, name string) (*Identity, error) {
	at, err := Find(dir, name)
	if err != nil {
		return nil, err
	}
	id, err := load(at)
	if err != nil {
		return nil, fmt.Errorf("keys in %s: %w", at, err)
	}
	if name != "" && id.Node != name {
		return nil, fmt.Errorf("%w: %s has the keys of node %s, not of %s", ErrUnknown, at, id.Node, name)
	}
	return id, nil
}

// Find says where the keys of a node are: dir itself, when it is a node's folder,
// else nodes/NAME in it. The error names the nodes that there are keys of.
func Find(dir, name string) (string, error) {
	if exists(fileOf(dir, fileCreds)) {
		return dir, nil
	}
	if name != "" && exists(fileOf(nodeDir(dir, name), fileCreds)) {
		return nodeDir(dir, name), nil
	}
	entries, err := os.ReadDir(filepath.Join(dir, "nodes"))
	if err != nil {
		return "", fmt.Errorf("%w: %s has no %s: give a node's folder, or the folder made by 'loopmesh keys init'", ErrUnknown, dir, fileCreds)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	return "", fmt.Errorf("%w: %s has keys of %s, not of %q", ErrUnknown, dir, strings.Join(have, ", "), name)
}

// load reads the six files of a node's folder and checks that they belong together:
// the statement about the account is about the account that signed the node's
// statement, and the operator signed it; the certificate parses and has its key. A
// folder that was copied in part is refused here and not at the first connection.
func load(dir string) (*Identity, error) {
	text := map[string]string{}
	for _, name := range []string{fileCA, fileNode, fileCreds, fileOperator, fileSystem, fileAccount} {
		raw, err := readFile(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s is missing: copy the whole folder", ErrUnknown, name)
		}
		if err != nil {
			return nil, err
		}
		text[name] = string(raw)
	}
	id := &Identity{Operator: text[fileOperator], System: text[fileSystem], Members: text[fileAccount]}
	if err := id.readCredentials([]byte(text[fileCreds])); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, fileCreds, err)
	}
	account, err := id.Revocations()
	if err != nil {
		return nil, err
	}
	id.Cluster = account.Name
	if err := id.readCertificate([]byte(text[fileCA]), []byte(text[fileNode])); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, fileNode, err)
	}
	return id, nil
}

// readCredentials reads who the node is, and its rights. The rights are read out of
// the subjects that the statement allows, because those are what the server enforces:
// a second list beside them could say something else.
func (id *Identity) readCredentials(raw []byte) (err error) {
	if id.Statement, err = jwt.ParseDecoratedJWT(raw); err != nil {
		return err
	}
	if id.key, err = jwt.ParseDecoratedUserNKey(raw); err != nil {
		return err
	}
	c, err := jwt.DecodeUserClaims(id.Statement)
	if err != nil {
		return err
	}
	id.Node, id.Account, id.Expires = c.Name, c.Issuer, time.Unix(c.Expires, 0)
	for _, allowed := range c.Pub.Allow {
		if i := strings.LastIndexByte(allowed, '.'); i >= 0 && strings.Contains(allowed, ".to.*.*.") {
			id.Grants = FromToken(allowed[i+1:])
		}
	}
	return nil
}

// readCertificate reads the certificate and its key, which are in one file so that no
// reader finds the one of yesterday with the other of today.
func (id *Identity) readCertificate(ca, node []byte) (err error) {
	if id.cert, err = tls.X509KeyPair(node, node); err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(id.cert.Certificate[0])
	if err != nil {
		return err
	}
	id.cert.Leaf = leaf
	id.Voter = isVoter(leaf)
	id.cas = x509.NewCertPool()
	if !id.cas.AppendCertsFromPEM(ca) {
		return errors.New("no certificate in " + fileCA)
	}
	return nil
}

// isVoter: the authority has written it into the certificate, where a node cannot
// change it.
func isVoter(cert *x509.Certificate) bool {
	return slices.Contains(cert.Subject.OrganizationalUnit, voterUnit)
}

// Revocations is the statement about the nodes' account, checked.
func (id *Identity) Revocations() (*jwt.AccountClaims, error) { return id.CheckAccount(id.Members) }

// CheckAccount reads a statement about the nodes' account that somebody showed:
// only the cluster's operator can have signed it.
func (id *Identity) CheckAccount(text string) (*jwt.AccountClaims, error) {
	op, err := jwt.DecodeOperatorClaims(id.Operator)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, fileOperator, err)
	}
	c, err := jwt.DecodeAccountClaims(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, fileAccount, err)
	}
	if !op.DidSign(c) || c.Subject != id.Account {
		return nil, fmt.Errorf("%w: %s is not of this cluster", ErrInvalid, fileAccount)
	}
	return c, nil
}

// Newer reports whether a is a later statement than b. Why the count: two of them
// can be made in one second, and the list only grows.
func Newer(a, b *jwt.AccountClaims) bool {
	return a.IssuedAt > b.IssuedAt || a.IssuedAt == b.IssuedAt && len(a.Revocations) > len(b.Revocations)
}

// Sign answers the server's challenge with the node's key.
func (id *Identity) Sign(nonce []byte) ([]byte, error) { return id.key.Sign(nonce) }

// Save keeps a statement about the account in the node's folder, so that a server
// that starts again knows the revoked keys before any other node can tell it. A newer
// one that is there already stays: somebody may have copied it there meanwhile.
func Save(dir, name, members string) error {
	at, err := Find(dir, name)
	if err != nil {
		return err
	}
	given, err := jwt.DecodeAccountClaims(members)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, fileAccount, err)
	}
	if raw, err := readFile(at, fileAccount); err == nil {
		if there, err := jwt.DecodeAccountClaims(string(raw)); err == nil && !Newer(given, there) {
			return nil
		}
	}
	return writeFile(at, fileAccount, []byte(members))
}

// Stamp changes when a file of the folder that an engine reads again has changed:
// the credentials or the account.
func Stamp(dir, name string) string {
	at, err := Find(dir, name)
	if err != nil {
		return ""
	}
	stamp := ""
	for _, name := range []string{fileCreds, fileAccount} {
		if info, err := os.Stat(fileOf(at, name)); err == nil {
			stamp += fmt.Sprint(info.ModTime().UnixNano(), info.Size(), ";")
		}
	}
	return stamp
}
