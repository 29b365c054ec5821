package keys

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var nodeFiles = []string{fileCA, fileNode, fileCreds, fileOperator, fileSystem, fileAccount}

// FuzzFolder: a node's folder in which one file holds anything is refused by name, or is of
// the cluster that the operator has signed.
func FuzzFolder(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "keys")
	if err := Init(dir, "shop", Node{Name: "n1", Voter: true}, Node{Name: "n2", Grants: []string{"call:math.*"}}); err != nil {
		f.Fatal(err)
	}
	foreign := filepath.Join(f.TempDir(), "keys")
	if err := Init(foreign, "shop", Node{Name: "n1", Voter: true, Grants: []string{"admin"}}); err != nil {
		f.Fatal(err)
	}
	own := map[string][]byte{}
	for i, name := range nodeFiles {
		for _, from := range []string{nodeDir(dir, "n1"), nodeDir(dir, "n2"), nodeDir(foreign, "n1")} {
			raw, err := os.ReadFile(filepath.Join(from, name))
			if err != nil {
				f.Fatal(err)
			}
			if from == nodeDir(dir, "n1") {
				own[name] = raw
			}
			f.Add(uint8(i), raw)
			f.Add(uint8(i), raw[:len(raw)/2])
			f.Add(uint8(i), bytes.Replace(raw, []byte("e"), []byte("f"), 1))
		}
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte("a.b.c"))
		f.Add(uint8(i), []byte(strings.Repeat("-----BEGIN X-----\n", 10)))
	}
	before, err := Load(dir, "n1")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which uint8, content []byte) {
		at := t.TempDir()
		for i, name := range nodeFiles {
			raw := own[name]
			if i == int(which)%len(nodeFiles) {
				raw = content
			}
			if err := os.WriteFile(filepath.Join(at, name), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		id, err := Load(at, "n1")
		if err != nil {
			if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrPermissions) {
				t.Errorf("%s: an error without a name: %v", nodeFiles[int(which)%len(nodeFiles)], err)
			}
			return
		}
		claims, err := id.Revocations()
		if err != nil || claims.Subject != id.Account || id.Account != before.Account || id.Cluster != "shop" {
			t.Errorf("it is of account %q, cluster %q: %v", id.Account, id.Cluster, err)
		}
		if _, err := id.Sign([]byte("nonce")); err != nil {
			t.Error("it cannot sign:", err)
		}
	})
}

// FuzzStatement: a statement about the account that somebody shows counts only when the
// operator has signed it.
func FuzzStatement(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "keys")
	if err := Init(dir, "shop", Node{Name: "n1", Voter: true}); err != nil {
		f.Fatal(err)
	}
	id, err := Load(dir, "n1")
	if err != nil {
		f.Fatal(err)
	}
	known, err := id.Revocations()
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(id.Members, ".")
	f.Add(id.Members)
	f.Add(id.System)
	f.Add(id.Operator)
	f.Add(id.Statement)
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add("eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0." + parts[1] + ".")
	f.Add(parts[0] + "..")
	f.Add("..")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := id.CheckAccount(text)
		switch {
		case err != nil && !errors.Is(err, ErrInvalid):
			t.Errorf("an error without a name: %v", err)
		case err == nil && (claims.Subject != id.Account || claims.ID != known.ID || len(claims.Revocations) > 0):
			t.Errorf("%q counts: %+v", text, claims)
		}
	})
}

// FuzzGrants: rights that are read say the same in the token that the server compares.
func FuzzGrants(f *testing.F) {
	f.Add("call:math.*")
	f.Add("admin")
	f.Add("publish:*,timer:*")
	f.Add("call:>")
	f.Add("spawn:" + strings.Repeat("x", 100) + strings.Repeat(",call:"+strings.Repeat("y", 100)+"*", 9) + strings.Repeat(",timer:a", 9))
	f.Add("call:" + strings.Repeat("a", 120) + ",call:" + strings.Repeat("b", 120) + ",call:" + strings.Repeat("c", 120) + ",call:" + strings.Repeat("d", 120) + ",call:" + strings.Repeat("e", 120) + ",call:" + strings.Repeat("f", 120) + ",call:" + strings.Repeat("g", 120))
	f.Add("call:a b")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGrants(strings.Split(text, ","))
		if err != nil {
			return
		}
		token := g.Token()
		if strings.ContainsAny(token, ".*> \t\r\n\x00") || token == "" {
			t.Errorf("%q has the token %q", text, token)
		}
		if again := FromToken(token); again.String() != g.String() {
			t.Errorf("%q: %q became %q", text, g, again)
		}
	})
}
