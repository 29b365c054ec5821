package engine

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// When the disk of its store is full, a stream of nats-server takes no writes any more,
// for good, and only says so in its log; when several are, it shuts JetStream down. Either
// way only a restart would end it. A node that has to be restarted by hand because
// somebody else filled its disk for a minute is not what its owner wants, so the engine
// shuts JetStream down, which hands leading over to other voters, and starts it again when
// there is room: then the server reads what is really on the disk. Until then requests
// end without an answer (ErrNoQuorum), or are answered by the other voters.

const (
	lookRoom  = time.Second
	storeRoom = 16 << 20 // bytes: two blocks of a stream
)

// revive looks whether JetStream has to be shut down, or can be started again.
func (e *Engine) revive() {
	nats := e.server.nats
	if !nats.Running() {
		return
	}
	if nats.JetStreamEnabled() {
		if e.server.log.full.Load() {
			e.log.Error("the disk of the store is full: nothing durable is written here until there is room", "folder", e.cfg.StoreDir, "needed", storeRoom)
			_ = nats.ShutdownJetStream() // it is down either way
		}
		return
	}
	if free, err := freeBytes(e.cfg.StoreDir); err != nil || free < storeRoom {
		return
	}
	e.server.log.full.Store(false)
	e.server.reviving.Store(true)
	defer e.server.reviving.Store(false)
	err := nats.EnableJetStream(&server.JetStreamConfig{StoreDir: e.cfg.StoreDir, MaxMemory: storeMemory})
	switch {
	case err == nil:
		e.log.Warn("the store has room: JetStream was started again", "folder", e.cfg.StoreDir)
	case e.quiet.room.allow(time.Now()):
		e.log.Error("JetStream was shut down and cannot be started again; it goes on trying", "folder", e.cfg.StoreDir, "error", err)
	}
}
