package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster/keys"
)

// The node's keys while it runs. The folder is looked at twice a second (keyStamp);
// what is in it then is taken over if it is of the same node, cluster and rights.
// Rights are a part of every subject that the node has subscribed, so a change of
// them takes a restart; everything else moves over without an interruption
// (Link.replace).

// expiresSoon is when the end of the keys is warned about.
const expiresSoon = 14 * 24 * time.Hour

// replaceWait bounds the change to new keys.
const replaceWait = 10 * time.Second

// identity is who the node is, by its keys; not without keys.
func (e *Engine) identity() *keys.Identity { return e.id.Load() }

// readKeys reads the key folder, if there is one, and refuses what would be refused later
// by a server, with less to read: keys of another cluster, expired ones, a voter
// without a voter's certificate.
func (c *Config) readKeys() (*keys.Identity, error) {
	if c.Keys == "" {
		return nil, nil
	}
	id, err := keys.Load(c.Keys, c.Node)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: Keys: %w", ErrConfig, err)
	case id.Cluster != c.Cluster:
		return nil, badConfig("Keys: %s has keys of cluster %q, this node is of %q: set Cluster (--cluster) to %q", c.Keys, id.Cluster, c.Cluster, id.Cluster)
	case time.Now().After(id.Expires), time.Now().After(id.CertificateExpires()):
		return nil, badConfig("Keys: those of node %s expired on %s: make new ones with 'loopmesh keys rotate'", id.Node, id.Expires.Format(time.DateOnly))
	case c.clustered() && !id.Voter:
		return nil, badConfig("Keys: those of node %s are not those of a voter: make them with 'loopmesh keys add --voter'", id.Node)
	}
	return id, nil
}

// loadKeys takes the keys at the start.
func (e *Engine) loadKeys() error {
	id, err := e.cfg.readKeys()
	if id == nil {
		return err
	}
	if left := time.Until(id.Expires); left < expiresSoon {
		e.log.Warn("the keys of this node expire soon: make new ones with 'loopmesh keys rotate'", "on", id.Expires.Format(time.DateOnly))
	}
	e.id.Store(id)
	e.Grants = id.Grants
	if e.cfg.StoreDir != "" && !e.MayMakeStreams() {
		e.log.Warn("the keys of this node do not let it make streams, so names and durable calls wait for a voter or an admin: make its keys with 'loopmesh keys add --voter'")
	}
	return nil
}

// MayMakeStreams reports whether the node's keys let it make the streams of the cluster:
// those of a voter or an admin do. Without keys every node may.
func (e *Engine) MayMakeStreams() bool {
	id := e.identity()
	return id == nil || id.Voter || id.Grants.Admin()
}

// MakesStreams reports whether this node makes the streams when it starts: it has keys
// that let it, and a place for them. Without keys whoever needs a stream first makes it.
func (e *Engine) MakesStreams() bool {
	return e.identity() != nil && e.cfg.StoreDir != "" && e.MayMakeStreams()
}

func (e *Engine) keyStamp() string {
	if e.cfg.Keys == "" {
		return ""
	}
	return keys.Stamp(e.cfg.Keys, e.cfg.Node)
}

// keysChanged reads the key folder again: it takes over a newer statement about the
// account (revoked keys), tells others of it, and moves the connections to new keys.
// On any doubt the old keys stay in use and the log says why: a wrong file must not
// end a node that runs.
func (e *Engine) keysChanged() {
	old := e.identity()
	id, err := keys.Load(e.cfg.Keys, e.cfg.Node)
	switch {
	case err != nil:
		e.log.Error("the key folder has changed and cannot be read; the old keys stay in use", "error", err)
		return
	case id.Cluster != old.Cluster || id.Account != old.Account:
		e.log.Error("the key folder has keys of another cluster now; the old keys stay in use", "folder", e.cfg.Keys)
		return
	case id.Grants.String() != old.Grants.String():
		e.log.Error("the new keys give this node other rights, which takes a restart; the old keys stay in use", "rights", id.Grants.String())
		return
	}
	shown := id.Members
	e.mu.Lock()
	id.Members = e.identity().Members
	e.id.Store(id)
	e.mu.Unlock()
	if id.Statement != old.Statement {
		e.changeKeys()
	}
	e.takeAccount(shown)
	// An old file may have been put into the folder.
	if err := keys.Save(e.cfg.Keys, e.cfg.Node, e.identity().Members); err != nil {
		e.log.Error("the revoked keys could not be written down", "error", err)
	}
}

// changeKeys moves all connections to the new keys.
func (e *Engine) changeKeys() {
	ctx, cancel := context.WithTimeout(context.Background(), replaceWait)
	defer cancel()
	for _, l := range []*Link{e.control, e.bulk, e.notices} {
		if err := l.replace(ctx); err != nil {
			e.log.Error("the new keys were not accepted; the old connection stays in use", "connection", l.kind, "error", err)
			return
		}
	}
	e.log.Info("moved to new keys; the old ones can be revoked")
}
