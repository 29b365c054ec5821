package engine

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/loopmesh/loopmesh/cluster/internal/admit"
)

// How full the stores of the servers are. A client of JetStream is told the limits of its
// streams and of its account, but not how much a server may write to its disk. At that
// limit the server refuses everything, renewals of leases as well, so who makes the store
// grow has to know it before: a server says it in its reports.
//
// What counts is the room of a majority: a voter whose disk somebody else has filled does
// not keep the others from storing, because they go on without it.

// fill is how much a server has written of what it may write.
type fill struct {
	Used  uint64 `json:"used"`
	Limit uint64 `json:"limit"`
}

// room is what is left.
func (f fill) room() uint64 { return f.Limit - min(f.Used, f.Limit) }

// fill is nil where there is no store, or JetStream was shut down because of it.
func (e *Engine) fill() *fill {
	if e.server == nil || e.cfg.StoreDir == "" {
		return nil
	}
	js, err := e.server.nats.Jsz(&server.JSzOptions{})
	if err != nil || js.Disabled {
		return nil
	}
	f := &fill{Used: js.Store, Limit: uint64(max(js.Config.MaxStore, 0))}
	if free, err := freeBytes(e.cfg.StoreDir); err == nil { // less than the server was promised: others use the disk
		f.Limit = min(f.Limit, f.Used+free-min(free, storeRoom))
	}
	return f
}

// fills are the newest reports of other servers. Guarded by mu, bounded by maxSpeaker.
type fills struct {
	mu              sync.Mutex
	told            map[string]told
	asked, answered time.Time
}

// askEach is how often at most a node asks for the levels, and a server tells them because
// of that: everybody hears an answer, whoever has asked.
const askEach = 20 * time.Millisecond

// due reports whether it is time to ask or to answer again, and notes that it is done.
func (f *fills) due(last *time.Time, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(*last) < askEach {
		return false
	}
	*last = now
	return true
}

// AskStores has servers of others say at once how full their stores are. Who writes much to
// a small store would otherwise wait for their next reports.
func (e *Engine) AskStores() {
	if e.cfg.embeds() && !e.cfg.clustered() || e.cfg.Beside != nil || !e.fills.due(&e.fills.asked, time.Now()) {
		return
	}
	e.publishReport(report{Node: e.cfg.Node, AskStore: true})
}

// told is what one server has said of its store.
type told struct {
	fill
	at    time.Time
	count uint64
}

// fillKept is how long a report of a server counts: one that is silent does not.
const fillKept = 5 * reportEach

// take keeps what a server has said.
func (f *fills) take(node string, said *fill, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last, known := f.told[node]
	switch {
	case said == nil:
		delete(f.told, node)
		return
	case !known && len(f.told) >= maxSpeaker:
		return
	case f.told == nil:
		f.told = map[string]told{}
	}
	f.told[node] = told{*said, now, last.count + 1}
}

// known are the servers that have reported lately.
func (f *fills) known(now time.Time) (out []admit.Level) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for node, t := range f.told {
		if now.Sub(t.at) > fillKept {
			delete(f.told, node)
			continue
		}
		out = append(out, admit.Level{Name: diskOf(node), Used: t.Used, Limit: t.Limit, Stamp: t.count, Copies: 1, Pushed: true})
	}
	return out
}

func diskOf(node string) string { return "the store of server " + node }

// Stores is the level of the store of the server that decides whether a majority has room;
// none where no server has said anything, as with an external NATS.
func (e *Engine) Stores() []admit.Level {
	if e.cfg.Beside != nil {
		return e.cfg.Beside.Stores()
	}
	all := e.fills.known(time.Now())
	if own := e.fill(); own != nil {
		all = append(all, admit.Level{Name: diskOf(e.cfg.Node), Used: own.Used, Limit: own.Limit, Stamp: e.looks.Add(1), Copies: 1})
	}
	return ofMajority(all, e.Votes().Voters)
}

// ofMajority is the last of those servers that make a majority, the emptiest first.
func ofMajority(all []admit.Level, voters int) []admit.Level {
	room := func(l admit.Level) uint64 { return fill{l.Used, l.Limit}.room() }
	slices.SortFunc(all, func(a, b admit.Level) int { return cmp.Or(cmp.Compare(room(b), room(a)), cmp.Compare(a.Name, b.Name)) })
	if at := max(voters, 1) / 2; at < len(all) {
		return all[at : at+1]
	}
	return nil
}
