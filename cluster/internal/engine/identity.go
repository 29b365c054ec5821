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

// loadKeys reads the key folder at the start and refuses what would be refused later
// by a server, with less to read: keys of another cluster, expired ones, a voter
// without a voter's certificate.
func (e *Engine) loadKeys() error {
	if e.cfg.Keys == "" {
		return nil
	}
	id, err := keys.Load(e.cfg.Keys, e.cfg.Node)
	switch {
	case err != nil:
		return fmt.Errorf("%w: Keys: %w", ErrConfig, err)
	case id.Cluster != e.cfg.Cluster:
		return badConfig("Keys: %s has keys of cluster %q, this node is of %q: set Cluster (--cluster) to %q", e.cfg.Keys, id.Cluster, e.cfg.Cluster, id.Cluster)
	case time.Now().After(id.Expires), time.Now().After(id.CertificateExpires()):
		return badConfig("Keys: those of node %s expired on %s: make new ones with 'loopmesh keys rotate'", id.Node, id.Expires.Format(time.DateOnly))
	case e.cfg.clustered() && !id.Voter:
		return badConfig("Keys: those of node %s are not those of a voter: make them with 'loopmesh keys add --voter'", id.Node)
	}
	if left := time.Until(id.Expires); left < expiresSoon {
		e.log.Warn("the keys of this node expire soon: make new ones with 'loopmesh keys rotate'", "on", id.Expires.Format(time.DateOnly))
	}
	e.id.Store(id)
	e.Grants = id.Grants
	return nil
}

// MakesStreams reports whether this node makes the streams of the cluster when it starts:
// it has a place for them, and keys of a voter or an admin. Otherwise, and without keys,
// whoever needs a stream first makes it.
func (e *Engine) MakesStreams() bool {
	id := e.identity()
	return id != nil && e.cfg.StoreDir != "" && (id.Voter || id.Grants.Admin())
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
