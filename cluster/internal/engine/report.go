package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/keys"
)

// report is what engines tell each other. A node with a server sends one every
// second; others ask for them when they start. It lets a node find out in time what
// would otherwise fail later: a clock that is wrong, voters with different lists,
// a key that was revoked somewhere else, a server on the smaller side of a partition.
type report struct {
	Node      string   `json:"node"`
	Routes    string   `json:"routes,omitempty"`    // list of voters, of a voter
	Connected []string `json:"connected,omitempty"` // voters its server is connected to
	Voters    int      `json:"voters,omitempty"`
	Clock     int64    `json:"clock,omitempty"`   // Unix milliseconds, of a node with a server
	Issued    int64    `json:"issued,omitempty"`  // date of the account's statement it knows
	Revoked   int      `json:"revoked,omitempty"` // and how many keys that revokes
	Account   string   `json:"account,omitempty"` // the statement itself, for those that know an older one
	Ask       bool     `json:"ask,omitempty"`     // answer with a report
	Store     *fill    `json:"store,omitempty"`   // how full its server's store is
	AskStore  bool     `json:"ask_store,omitempty"`

	Route  string      `json:"route,omitempty"`  // where a voter listens for routes
	Number uint64      `json:"number,omitempty"` // its incarnation
	Ended  []voterLife `json:"ended,omitempty"`  // voters whose process is gone, see endings
}

const (
	skewLimit  = time.Second
	skewTimes  = 3                      // reports in a row: one alone may have been held up
	meetWait   = 300 * time.Millisecond // for a voter whose server has not connected to this one yet
	meetMost   = 3 * time.Second        // for the report of one that has
	meetTick   = 20 * time.Millisecond
	maxReport  = 64 << 10
	maxSpeaker = 64 // nodes whose clock is compared
)

// clocks counts, for each server, reports in a row whose time differed too much from
// this machine's. Guarded by mu. Bounded by maxSpeaker, since a peer can invent
// names.
type clocks struct {
	mu   sync.Mutex
	away map[string]away
}

// away is a clock that differs.
type away struct {
	reports int       // in a row
	counted time.Time // the last of them
}

// meet subscribes to the reports, asks for them, and gives each voter that is
// connected the chance to object to this one's list. Only a voter waits. It waits until
// all connected voters have reported, so that a slow machine does not let a wrong list
// pass; an objection that comes later is logged by both and ends neither, because a
// cluster that runs must not be stopped by a newcomer.
func (e *Engine) meet(ctx context.Context) error {
	m := &meeting{seen: &clocks{away: map[string]away{}}, objection: make(chan error, 1), agreed: make(chan string, 8)}
	if err := e.control.Subscribe(e.Subjects.Engines, func(msg *nats.Msg) { e.reported(msg, m) }); err != nil {
		return err
	}
	if e.cfg.clustered() {
		e.setVotes(e.votes())
	}
	e.sendReport(true)
	if !e.cfg.clustered() {
		return nil
	}
	return e.awaitVoters(ctx, m)
}

// meeting is what the reports of others are compared with and told to. objection and
// agreed are read while this node starts, later what they do not hold is dropped.
type meeting struct {
	seen      *clocks
	objection chan error  // a voter with another list
	agreed    chan string // a voter with the same list
}

// awaitVoters waits for the voters that are connected to this one's server.
func (e *Engine) awaitVoters(ctx context.Context, m *meeting) error {
	begin, agreed := time.Now(), map[string]bool{e.cfg.Node: true}
	tick := time.NewTicker(meetTick)
	defer tick.Stop()
	for {
		select {
		case err := <-m.objection:
			return err
		case node := <-m.agreed:
			agreed[node] = true
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			silent := slices.ContainsFunc(e.votes().Connected, func(node string) bool { return !agreed[node] })
			if waited := time.Since(begin); waited >= meetMost || waited >= meetWait && !silent {
				return nil
			}
		}
	}
}

// sendReport tells what this engine knows; ask makes those that have a server answer
// with theirs. A node without a server reports nothing but the age of the list of
// revoked keys that it knows.
func (e *Engine) sendReport(ask bool) {
	r := report{Node: e.cfg.Node, Ask: ask}
	if e.server != nil {
		r.Clock, r.Store = time.Now().UnixMilli(), e.fill()
	}
	if e.server != nil && e.cfg.clustered() {
		v := e.Votes()
		r.Routes, r.Connected, r.Voters = e.cfg.routeList(), v.Connected, v.Voters
		r.Route, _ = e.cfg.ownRoute() // Open has checked that there is one
		r.Number, r.Ended = e.cfg.Number, e.endings.told(time.Now())
	}
	if id := e.identity(); id != nil {
		if claims, err := id.Revocations(); err == nil {
			r.Issued, r.Revoked = claims.IssuedAt, len(claims.Revocations)
		}
	}
	e.publishReport(r)
}

// publishReport sends a report to all engines. One that is lost is made good by the
// next, a second later.
func (e *Engine) publishReport(r report) {
	data, err := json.Marshal(r)
	if err == nil {
		err = e.control.Publish(e.Subjects.Engine, "", data)
	}
	if err != nil {
		e.log.Debug("a report could not be sent", "error", err)
	}
}

// reported handles a report of another engine. It is text of another node: what it
// says about itself counts only when the subject names the same node, and a statement
// in it only by its signature.
func (e *Engine) reported(msg *nats.Msg, m *meeting) {
	from, _, ok := e.Subjects.Sender(msg.Subject)
	var r report
	if !ok || len(msg.Data) > maxReport || json.Unmarshal(msg.Data, &r) != nil || r.Node != from || from == e.cfg.Node {
		return
	}
	if e.server != nil && (r.Ask || r.AskStore && e.fills.due(&e.fills.answered, time.Now())) {
		e.sendReport(false)
	}
	if r.Clock != 0 {
		e.fills.take(from, r.Store, time.Now())
		e.compareClock(from, time.Until(time.UnixMilli(r.Clock)), time.Now(), m.seen)
	}
	e.compareRoutes(&r, m)
	e.heardEnded(&r)
	e.compareAccount(&r)
}

// compareClock warns when the clock of a server is ahead of or behind this one. The
// report was under way for a while, so what it says is at most too late: only a
// difference that stays is one. Why reports that come together count once: those that
// waited while this process was stopped are all late, by one cause.
func (e *Engine) compareClock(node string, ahead time.Duration, now time.Time, seen *clocks) {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if ahead.Abs() <= skewLimit {
		delete(seen.away, node)
		return
	}
	a, known := seen.away[node]
	if !known && len(seen.away) >= maxSpeaker || now.Sub(a.counted) < reportEach/2 {
		return
	}
	a.reports, a.counted = a.reports+1, now
	seen.away[node] = a
	if a.reports%(60*skewTimes) != skewTimes {
		return
	}
	e.log.Warn("the clocks of two machines differ: timers for a time of day and the validity of keys depend on them; set both by NTP",
		"server", node, "ahead", ahead.Round(time.Millisecond))
	if e.cfg.Events.Skew != nil {
		e.cfg.Events.Skew(node, -ahead)
	}
}

// compareRoutes finds a voter with another list of voters. Two lists could make two
// halves that both think they are the majority. A voter that starts gives up; one
// that runs complains in its log. For a client the report says how many voters the
// server it uses is connected to.
func (e *Engine) compareRoutes(r *report, m *meeting) {
	switch {
	case r.Routes == "":
	case e.server == nil:
		if r.Node == e.control.current().nats.ConnectedServerName() {
			e.setVotes(Votes{r.Voters, r.Connected})
		}
	case r.Routes != e.cfg.routeList():
		err := badConfig("voter %s has other Routes (%s) than this one (%s): give every voter the same list", r.Node, r.Routes, e.cfg.routeList())
		select {
		case m.objection <- err:
		default:
		}
		if e.quiet.routes.allow(time.Now()) {
			e.log.Error(err.Error())
		}
	default:
		select {
		case m.agreed <- r.Node:
		default:
		}
	}
}

// compareAccount passes on which keys are revoked: who knows more shows the signed
// statement, who knows less takes it.
func (e *Engine) compareAccount(r *report) {
	id := e.identity()
	if id == nil {
		return
	}
	if r.Account != "" {
		e.takeAccount(r.Account)
		return
	}
	claims, err := id.Revocations()
	if err != nil || r.Issued == 0 {
		return
	}
	theirs := &jwt.AccountClaims{ClaimsData: jwt.ClaimsData{IssuedAt: r.Issued}}
	if keys.Newer(claims, theirs) && (claims.IssuedAt > r.Issued || len(claims.Revocations) > r.Revoked) {
		e.publishReport(report{Node: e.cfg.Node, Account: id.Members})
	}
}

// takeAccount makes a statement about the account count here, if the operator signed
// it and it is newer than the known one: it is written down first, for the next
// start, then the server cuts off whose keys it revokes, then others are told. Each
// engine tells it once, so the news ends when everybody has it.
func (e *Engine) takeAccount(text string) {
	claims, err := e.adoptAccount(text)
	if err != nil {
		e.log.Warn("a statement about the account was refused", "error", err)
	}
	if claims == nil {
		return
	}
	if err := keys.Save(e.cfg.Keys, e.cfg.Node, text); err != nil {
		e.log.Error("the revoked keys could not be written down; they count until this node ends", "error", err)
	}
	if e.server != nil {
		if err := e.server.update(text, claims); err != nil {
			e.log.Error("the server did not take over the revoked keys", "error", err)
			return
		}
	}
	e.log.Info("keys are revoked", "how many", len(claims.Revocations))
	e.publishReport(report{Node: e.cfg.Node, Account: text})
}

// adoptAccount puts a newer statement into the identity; nil when it is not newer. An
// Identity does not change, so a copy takes its place: a handshake that is under way
// sees the old one whole.
func (e *Engine) adoptAccount(text string) (*jwt.AccountClaims, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := e.identity()
	claims, err := id.CheckAccount(text)
	if err != nil {
		return nil, err
	}
	if known, err := id.Revocations(); err != nil || !keys.Newer(claims, known) {
		return nil, err
	}
	next := *id
	next.Members = text
	e.id.Store(&next)
	return claims, nil
}

// String is the report for logs.
func (r report) String() string { return fmt.Sprintf("report of %s", r.Node) }
