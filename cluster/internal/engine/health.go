package engine

import "time"

// Health is what only the engine knows of how a node is: its voters, its keys and its
// store. It is read when somebody asks, and nothing is kept for it.
type Health struct {
	Votes
	// Keys and Certificate are until when a server accepts them; zero without keys.
	Keys, Certificate time.Time
	// Store is the folder of the embedded server, "" without one; Free is how many bytes
	// may be written to its disk, and Stopped that the server writes none, because the disk
	// was full.
	Store   string
	Free    uint64
	Stopped bool
}

// The room on the disk is asked for at each call, since it is the one number here that others
// change. The votes are those of the last look, a quarter of a second ago at most.
// Health asks the kernel for the room on the disk; it does not wait for anybody else.
func (e *Engine) Health() Health {
	h := Health{Votes: e.Votes()}
	if id := e.identity(); id != nil {
		h.Keys, h.Certificate = id.Expires, id.CertificateExpires()
	}
	if e.server != nil && e.cfg.StoreDir != "" {
		h.Store, h.Stopped = e.cfg.StoreDir, !e.server.nats.JetStreamEnabled()
		h.Free, _ = freeBytes(e.cfg.StoreDir) // a folder that is gone has no room
	}
	return h
}
