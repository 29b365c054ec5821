package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/loopmesh/loopmesh/internal/filelock"
)

// The store folder: one node at a time, and always the same one. A lock file keeps a
// second process out, which the kernel frees however the first one ends; a file
// beside it says which node of which cluster the data is of.

const (
	storeLock  = "loopmesh.lock"
	storeOwner = "loopmesh.json"
)

// owner is whose a store folder is. Why kept: the files of another voter or of
// another cluster would be served as this one's, and JetStream would not notice.
type owner struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
}

// takeStore makes the folder, takes its lock and checks whose it is. unlock lets it
// go.
func takeStore(cfg *Config) (unlock func() error, err error) {
	dir := cfg.StoreDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, storeLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	if err := filelock.Take(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s is used by another node: give every node its own StoreDir: %w", ErrStore, dir, err)
	}
	if err := checkOwner(dir, owner{cfg.Cluster, cfg.Node}); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f.Close, nil // closing releases the lock
}

// checkOwner writes down whose a new folder is, and refuses one of somebody else. The
// lock is held, so nobody else writes it.
func checkOwner(dir string, want owner) error {
	path := filepath.Join(dir, storeOwner)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		raw, _ := json.Marshal(want) // the type can always be written
		if err := os.WriteFile(path, append(raw, '\n'), 0o600); err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	return lookAtOwner(dir, want)
}

// lookAtOwner refuses a folder of somebody else. One that is nobody's yet, or not there, is
// not refused.
func lookAtOwner(dir string, want owner) error {
	path := filepath.Join(dir, storeOwner)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var have owner
	if err == nil {
		err = json.Unmarshal(raw, &have)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s cannot be read: %w", ErrStore, path, err)
	case have.Cluster != want.Cluster:
		return fmt.Errorf("%w: %s belongs to cluster %q, this node is of %q: use another StoreDir", ErrStore, dir, have.Cluster, want.Cluster)
	case have.Node != want.Node:
		return fmt.Errorf("%w: %s belongs to node %q, this node is %q: use another StoreDir, or the old name", ErrStore, dir, have.Node, want.Node)
	}
	return nil
}
