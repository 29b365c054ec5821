package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// The key folder of a cluster and every change of it: Init, Add, Rotate, Revoke. Each
// of them opens the folder, makes what is new, writes, and keeps nothing in memory.
//
// The order of writing is what makes an interrupted command harmless. Issuing writes
// the record (issued.json) first and the node's folder afterwards: a crash between
// them leaves a key in the record that nobody has. The other way round there would be
// a key that works and that no Revoke knows. Revoking writes account.jwt first: a
// crash behind it leaves the keys in the record, and the same command revokes them
// again.
//
// One command at a time: there is no lock on the folder, which belongs to one person
// on one machine.

// Node describes a node that gets keys.
type Node struct {
	// Name is the node's name in the cluster.
	Name string `json:"name"`
	// Voter: it runs a NATS server of the cluster.
	Voter bool `json:"voter,omitempty"`
	// Hosts are the names and IP addresses under which others reach its server; they
	// stand in its certificate. A node without a server needs none.
	Hosts []string `json:"hosts,omitempty"`
	// Grants are its rights on other nodes; default: DefaultGrants.
	Grants []string `json:"grants,omitempty"`
	// Valid is how long its keys are accepted; default a year.
	Valid time.Duration `json:"valid,omitempty"`
}

// valid is how long the node's keys count. A year by default: long enough that nobody
// is surprised, short enough that a forgotten key ends.
func (n Node) valid() time.Duration {
	if n.Valid == 0 {
		return 365 * 24 * time.Hour
	}
	return n.Valid
}

const maxName = 64

// ValidName reports whether s can be the name of a node or a cluster: up to 64
// letters, digits, - and _.
func ValidName(s string) bool {
	return s != "" && len(s) <= maxName && strings.IndexFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) < 0
}

// check refuses names and hosts that could not stand in a subject or a certificate.
func (n Node) check() error {
	if !ValidName(n.Name) {
		return fmt.Errorf("%w: %q cannot be the name of a node: use up to %d letters, digits, - and _", ErrInvalid, n.Name, maxName)
	}
	for _, h := range n.Hosts {
		if net.ParseIP(h) == nil && (h == "" || strings.ContainsAny(h, ":/ *")) {
			return fmt.Errorf("%w: node %s: %q is no host: give a name or an IP address, without a port", ErrInvalid, n.Name, h)
		}
	}
	_, err := ParseGrants(n.Grants)
	return err
}

// record is what authority/issued.json says.
//
// Invariant: each key that was ever written into a node's folder and is not revoked
// stands in Keys of its node, in the order in which they were issued; the last one is
// in use. Revoke takes them out of it, so List counts those that servers accept.
type record struct {
	Cluster string             `json:"cluster"`
	System  string             `json:"system"`
	Nodes   map[string]*issued `json:"nodes"`
}

// issued is a node with its keys. Revoked: all of them were taken back; the entry
// stays, so that its name is known and can be given new keys.
type issued struct {
	Node
	Keys    []string `json:"keys"`
	Revoked bool     `json:"revoked,omitempty"`
}

// folder is an opened key folder with all that signs: operator signs statements about
// accounts, account those about nodes, ca the certificates. It lives for one command.
type folder struct {
	dir      string
	operator *signer
	account  *signer
	ca       *authority
	caPEM    []byte
	record   record
}

// Init makes a key folder for a cluster with its first nodes, of which none, 1, 3 or 5 are
// voters: others could not be started. (Add makes them one by one, so it does not count.) A
// folder that has keys is refused with ErrExists and not changed.
func Init(dir, cluster string, nodes ...Node) error {
	if !ValidName(cluster) {
		return fmt.Errorf("%w: %q cannot be the name of a cluster: use up to %d letters, digits, - and _", ErrInvalid, cluster, maxName)
	}
	if exists(authorityDir(dir)) {
		return fmt.Errorf("%w: %s has an authority: add nodes to it, or use another folder", ErrExists, dir)
	}
	seen, voters := map[string]bool{}, 0
	for _, n := range nodes {
		if n.Voter {
			voters++
		}
		if err := n.check(); err != nil {
			return err
		}
		if seen[n.Name] {
			return fmt.Errorf("%w: node %s is given twice", ErrInvalid, n.Name)
		}
		seen[n.Name] = true
	}
	if voters > 5 || voters > 0 && voters%2 == 0 {
		return fmt.Errorf("%w: %d nodes are voters: use 1, 3 or 5, as start does, and let the others join them", ErrInvalid, voters)
	}
	f, err := newFolder(dir, cluster)
	if err != nil {
		return fmt.Errorf("making keys in %s: %w", dir, err)
	}
	for _, n := range nodes {
		if err := f.issueNew(n); err != nil {
			return fmt.Errorf("making keys of node %s: %w", n.Name, err)
		}
	}
	return nil
}

// newFolder makes what signs, and writes authority/. The seed of the system account,
// which is the servers' own, is not kept: nobody is to make a user of it, because
// such a user could command the servers. The record is written last, so that a folder
// that was not finished is not taken for a key folder by open.
func newFolder(dir, cluster string) (*folder, error) {
	f := &folder{dir: dir}
	var system *signer
	var err error
	for _, s := range []struct {
		to   **signer
		make func() (nkeys.KeyPair, error)
	}{{&f.operator, nkeys.CreateOperator}, {&system, nkeys.CreateAccount}, {&f.account, nkeys.CreateAccount}} {
		if *s.to, err = newSigner(s.make); err != nil {
			return nil, err
		}
	}
	var caKey []byte
	if f.ca, f.caPEM, caKey, err = newAuthority(cluster, time.Now()); err != nil {
		return nil, err
	}
	f.record = record{Cluster: cluster, System: system.pub, Nodes: map[string]*issued{}}
	op := jwt.NewOperatorClaims(f.operator.pub)
	op.Name, op.SystemAccount = "loopmesh", system.pub
	opText, err := op.Encode(f.operator.pair)
	if err != nil {
		return nil, err
	}
	sysText, err := systemStatement(system, f.operator)
	if err != nil {
		return nil, err
	}
	accText, err := accountClaims(cluster, f.account.pub, system.pub).Encode(f.operator.pair)
	if err != nil {
		return nil, err
	}
	err = writeAll(authorityDir(dir), map[string][]byte{
		fileOperatorSeed: f.operator.seed, fileAccountSeed: f.account.seed, fileCAKey: caKey, fileCA: f.caPEM,
		fileOperator: []byte(opText), fileSystem: []byte(sysText), fileAccount: []byte(accText),
	})
	if err != nil {
		return nil, err
	}
	return f, f.save()
}

// open reads a key folder. It reads all that signs at once: a folder that lacks one
// of them is refused before anything in it is changed.
func open(dir string) (*folder, error) {
	at := authorityDir(dir)
	raw, err := readFile(at, fileIssued)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is no key folder: make one with 'loopmesh keys init %s'", ErrUnknown, dir, dir)
	}
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir}
	if err := json.Unmarshal(raw, &f.record); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, fileOf(at, fileIssued), err)
	}
	files := map[string][]byte{fileOperatorSeed: nil, fileAccountSeed: nil, fileCAKey: nil, fileCA: nil}
	for name := range files {
		if files[name], err = readFile(at, name); err != nil {
			return nil, err
		}
	}
	if f.operator, err = readSigner(files[fileOperatorSeed]); err != nil {
		return nil, err
	}
	if f.account, err = readSigner(files[fileAccountSeed]); err != nil {
		return nil, err
	}
	f.caPEM = files[fileCA]
	f.ca, err = readAuthority(f.caPEM, files[fileCAKey])
	return f, err
}

func (f *folder) save() error {
	raw, err := json.MarshalIndent(f.record, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(authorityDir(f.dir), fileIssued, append(raw, '\n'))
}

// issueNew writes the folder of a node that has none.
func (f *folder) issueNew(n Node) error {
	if have := f.record.Nodes[n.Name]; have != nil && !have.Revoked {
		return fmt.Errorf("%w: node %s: use 'loopmesh keys rotate' for new ones with the same rights, 'loopmesh keys revoke' before this for other rights", ErrExists, n.Name)
	}
	f.record.Nodes[n.Name] = &issued{Node: n}
	return f.issue(n)
}

// issue makes new keys for a node and writes its folder. Among the files the
// credentials are the last: a node that runs looks at them, and when they change it
// reads the others, which have to fit by then.
func (f *folder) issue(n Node) error {
	now := time.Now()
	creds, public, err := credentials(f.record.Cluster, n, f.account, now)
	if err != nil {
		return err
	}
	cert, err := f.ca.issue(n, now)
	if err != nil {
		return err
	}
	// Why first: a key that is not in the list could never be revoked.
	entry := f.record.Nodes[n.Name]
	entry.Keys = append(entry.Keys, public)
	if err := f.save(); err != nil {
		return err
	}
	files := map[string][]byte{fileCA: f.caPEM, fileNode: cert}
	for _, name := range []string{fileOperator, fileSystem, fileAccount} {
		if files[name], err = readFile(authorityDir(f.dir), name); err != nil {
			return err
		}
	}
	at := nodeDir(f.dir, n.Name)
	if err := writeAll(at, files); err != nil {
		return err
	}
	return writeFile(at, fileCreds, creds) // last: a running node reads the others when this one changes
}

// Add makes the keys of one more node. Running servers need no change. Errors:
// ErrUnknown when dir is no key folder, ErrExists, ErrInvalid.
func Add(dir string, n Node) error {
	if err := n.check(); err != nil {
		return err
	}
	f, err := open(dir)
	if err != nil {
		return err
	}
	return f.issueNew(n)
}

// Rotate makes new keys for a node. The old ones stay valid until Revoke, so that
// the node can change over without an interruption: a running one does so within
// two seconds of its folder being changed.
func Rotate(dir, name string) error {
	f, entry, err := find(dir, name)
	if err != nil {
		return err
	}
	return f.issue(entry.Node)
}

// find opens the folder and gives the entry of a node with keys that count.
func find(dir, name string) (*folder, *issued, error) {
	f, err := open(dir)
	if err != nil {
		return nil, nil, err
	}
	entry := f.record.Nodes[name]
	if entry == nil || entry.Revoked {
		return nil, nil, fmt.Errorf("%w: %s has keys of %s, not of %q", ErrUnknown, dir, f.names(), name)
	}
	return f, entry, nil
}

// names are the nodes with keys, for the text of an error.
func (f *folder) names() string {
	var out []string
	for name, n := range f.record.Nodes {
		if !n.Revoked {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		return "no node"
	}
	return strings.Join(out, ", ")
}

// Revoke takes the keys of a node back; with oldOnly all but the newest. It
// returns how many keys it revoked. It writes the new account.jwt into the folder
// of every node here; servers learn it from any running node that has it.
func Revoke(dir, name string, oldOnly bool) (int, error) {
	f, entry, err := find(dir, name)
	if err != nil {
		return 0, err
	}
	raw, err := readFile(authorityDir(dir), fileAccount)
	if err != nil {
		return 0, err
	}
	claims, err := jwt.DecodeAccountClaims(string(raw))
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrInvalid, fileAccount, err)
	}
	revoke := entry.Keys
	if oldOnly {
		revoke = entry.Keys[:len(entry.Keys)-1]
	}
	if len(revoke) == 0 {
		return 0, nil
	}
	for _, key := range revoke {
		claims.Revoke(key)
	}
	entry.Keys, entry.Revoked = slices.Clone(entry.Keys[len(revoke):]), !oldOnly
	return len(revoke), f.publish(claims)
}

// publish writes a changed statement about the account to wherever it belongs: into
// authority/, and into the folders of all nodes here, so that any of them can be the
// one that is copied. Folders on other machines learn it from their cluster.
func (f *folder) publish(claims *jwt.AccountClaims) error {
	text, err := claims.Encode(f.operator.pair)
	if err != nil {
		return err
	}
	if err := writeFile(authorityDir(f.dir), fileAccount, []byte(text)); err != nil {
		return err
	}
	if err := f.save(); err != nil {
		return err
	}
	for name := range f.record.Nodes {
		if at := nodeDir(f.dir, name); exists(at) {
			if err := writeFile(at, fileAccount, []byte(text)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// Issued is what a key folder knows of a node.
type Issued struct {
	Node
	Keys    int  `json:"keys"` // valid ones: the newest is in use, the others wait to be revoked
	Revoked bool `json:"revoked"`
}

// List are the nodes of a key folder and the name of its cluster, sorted by name.
func List(dir string) (cluster string, nodes []Issued, err error) {
	f, err := open(dir)
	if err != nil {
		return "", nil, err
	}
	for _, n := range f.record.Nodes {
		nodes = append(nodes, Issued{Node: n.Node, Keys: len(n.Keys), Revoked: n.Revoked})
	}
	slices.SortFunc(nodes, func(a, b Issued) int { return strings.Compare(a.Name, b.Name) })
	return f.record.Cluster, nodes, nil
}
