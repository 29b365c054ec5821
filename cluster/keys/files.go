package keys

import (
	"fmt"
	"os"
	"path/filepath"
)

// Files of a key folder: their names, who may read them, and how they are replaced.
// Invariant: a reader sees a whole file, the old or the new one, since nodes read
// their folder while it is being changed; and a secret is never readable for others,
// not even for a moment, since CreateTemp makes files of mode 0600.

// The files of a node's folder.
const (
	fileCA       = "ca.pem"       // certificate of the authority
	fileNode     = "node.pem"     // the node's certificate and its key, in one file so that both change at once
	fileCreds    = "node.creds"   // the node's statement and its nkey, likewise
	fileOperator = "operator.jwt" // who signs accounts
	fileSystem   = "system.jwt"   // the account of the servers themselves
	fileAccount  = "account.jwt"  // the account of the nodes, with the revoked keys
)

// The files of authority/.
const (
	fileOperatorSeed = "operator.nk"
	fileAccountSeed  = "account.nk"
	fileCAKey        = "ca-key.pem"
	fileIssued       = "issued.json"
)

func authorityDir(dir string) string  { return filepath.Join(dir, "authority") }
func nodeDir(dir, name string) string { return filepath.Join(dir, "nodes", name) }
func fileOf(dir, name string) string  { return filepath.Join(dir, name) }
func exists(path string) bool         { _, err := os.Lstat(path); return err == nil }
func makeDir(dir string) error        { return os.MkdirAll(dir, 0o700) }

// secret reports whether a file holds a private key or a seed.
func secret(name string) bool {
	return name == fileNode || name == fileCreds || filepath.Ext(name) == ".nk" || name == fileCAKey
}

func writeAll(dir string, files map[string][]byte) error {
	for name, data := range files {
		if err := writeFile(dir, name, data); err != nil {
			return err
		}
	}
	return nil
}

// writeFile replaces a file at once: it writes another one beside it, syncs it, and
// renames it. Without the sync a power cut could leave an empty file under the new
// name.
func writeFile(dir, name string, data []byte) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if secret(name) || name == fileIssued {
		mode = 0o600
	}
	f, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is gone when all went well
	if _, err = f.Write(data); err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), fileOf(dir, name))
}

// readFile refuses a secret that others than its owner can read. Why an error and not
// a warning: whoever could read it can be the node from then on, and only the owner
// can tell whether somebody has.
func readFile(dir, name string) ([]byte, error) {
	path := fileOf(dir, name)
	if secret(name) {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			return nil, fmt.Errorf("%w: %s has mode %#o: run chmod 600 %s", ErrPermissions, path, mode, path)
		}
	}
	return os.ReadFile(path)
}
