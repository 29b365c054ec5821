package names

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

// ownership is the record of a name. Written once for each owner, and once more each time
// others may have given the owner up (verify): the sequence of the first one is the token.
type ownership struct {
	Version int       `json:"v"`
	Name    string    `json:"name"`
	Node    string    `json:"node,omitempty"`
	Life    uint64    `json:"life,omitempty"` // incarnation of the node
	Term    uint64    `json:"term,omitempty"` // of the node's lease
	Loop    string    `json:"loop,omitempty"` // address
	At      time.Time `json:"at"`
	Free    bool      `json:"free,omitempty"`
	Nonce   string    `json:"nonce"`
	Token   uint64    `json:"token,omitempty"`  // 0: the sequence of this record
	Period  uint64    `json:"period,omitempty"` // of its node; see membership.Machine. 0: since it started
	Looks   int       `json:"looks,omitempty"`  // how often it was written once more: makes each one unique
}

// token is the fencing token of a record with that sequence.
func (o ownership) token(seq uint64) uint64 { return cmp.Or(o.Token, seq) }

// livelihood is the record of a lease.
type livelihood struct {
	Version int    `json:"v"`
	Life    uint64 `json:"life"`
	Term    uint64 `json:"term"`
	Nonce   string `json:"nonce"`
}

const version = 1

var errGarbage = errors.New("a record that this version cannot read")

// readOwnership reads the record of a name; what it does not understand is an error,
// and its name counts as free.
func readOwnership(r records.Record) (o ownership, err error) {
	if r.Gone {
		return ownership{Free: true}, nil
	}
	if err := json.Unmarshal(r.Body, &o); err != nil || o.Version != version || !o.Free && (o.Node == "" || o.Life == 0) {
		return ownership{Free: true}, fmt.Errorf("%w: %s", errGarbage, r.Subject)
	}
	return o, nil
}

// readLease reads a lease; one that cannot be read is none.
func readLease(r records.Record) (l livelihood) {
	if r.Gone || json.Unmarshal(r.Body, &l) != nil || l.Version != version {
		return livelihood{}
	}
	return l
}

const (
	ownPrefix   = "own."
	leasePrefix = "lease."
	keepFree    = time.Hour // how long a record says that a name was released
	maxName     = 128
)

func ownSubject(name string) string   { return ownPrefix + records.Token(name) }
func leaseSubject(node string) string { return leasePrefix + node }

// checkName refuses what cannot be a name.
func checkName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: %.200q: use 1 to %d bytes of UTF-8 without control characters", ErrBadName, name, maxName)
	}
	return nil
}

// encode writes a record; the types above can always be written.
func encode(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}
