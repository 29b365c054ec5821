package engine

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A killed client is told of by its server. A killed voter has taken its server with it:
// the others only see that their routes to it have ended, as they would when the network
// is cut. So a voter that loses another one connects to where that one listened for
// routes. A machine that refuses the connection lives, and no process listens there any
// more: the voter has ended. It tells everybody, a few seconds long, because those that
// were clients of the ended voter's server are between two connections. A machine that is
// gone or cut off answers nothing, and is left to the heartbeats.

// endings is what this engine knows about voters that may have ended. Bounded by the
// number of voters, since only addresses of Config.Routes are kept.
type endings struct {
	mu    sync.Mutex
	lives map[string]voterLife // by route; guarded by mu
	ended map[voterLife]time.Time
	words map[voterLife]map[string]time.Time // which voters say that it has ended, and when
}

// voterLife is one life of a voter.
type voterLife struct {
	Node   string `json:"node"`
	Number uint64 `json:"number"`
}

const (
	lookSoon   = 5 * time.Millisecond // at the routes, after the server said that one has ended
	soonLooks  = 100                  // before the looks are as seldom as before
	endedDials = 5                    // a process that is being killed may still accept
	endedWait  = 500 * time.Millisecond
	endedTold  = 5 * time.Second
	maxWords   = 16 // lives that somebody calls ended at a time
)

// learn keeps where a voter listens for routes, as it says itself.
func (e *endings) learn(route string, life voterLife) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lives == nil {
		e.lives, e.ended = map[string]voterLife{}, map[voterLife]time.Time{}
	}
	e.lives[route] = life
}

// find is where a voter listens, and which life of it.
func (e *endings) find(node string) (string, voterLife, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for route, life := range e.lives {
		if life.Node == node {
			return route, life, true
		}
	}
	return "", voterLife{}, false
}

// note keeps that a life has ended.
func (e *endings) note(life voterLife, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended[life] = now
}

// word keeps that a voter says so, and tells how many have within endedTold.
func (e *endings) word(life voterLife, from string, now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	for of, by := range e.words {
		maps.DeleteFunc(by, func(_ string, at time.Time) bool { return now.Sub(at) > endedTold })
		if len(by) == 0 {
			delete(e.words, of)
		}
	}
	if e.words == nil {
		e.words = map[voterLife]map[string]time.Time{}
	}
	if e.words[life] == nil {
		if len(e.words) >= maxWords {
			return 0
		}
		e.words[life] = map[string]time.Time{}
	}
	e.words[life][from] = now
	return len(e.words[life])
}

// told are the lives that others have to be told of.
func (e *endings) told(now time.Time) (out []voterLife) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for life, at := range e.ended {
		if now.Sub(at) > endedTold {
			delete(e.ended, life)
			continue
		}
		out = append(out, life)
	}
	return out
}

// An example of times, measured with kill -9 on one machine: the routes end within a
// millisecond; the server says so, and the next look, at most 5 ms later, finds the voter
// missing; the connection to where it listened is refused at once, and everybody is told. Whoever
// is told asks the voter, and its own server answers twice, 4 ms apart, that nobody
// listens: 17 to 30 ms after the kill all others know.

// lookAtRoutes asks the server which voters it is connected to, and looks after those
// that it was connected to before.
func (e *Engine) lookAtRoutes() {
	before, now := e.Votes().Connected, e.votes()
	e.setVotes(now)
	for _, node := range before {
		if slices.Contains(now.Connected, node) {
			continue
		}
		if route, life, ok := e.endings.find(node); ok {
			// goroutine: owner: engine; ends after endedDials attempts, or when Close ends e.live
			e.work.Go(func() {
				if nobodyListens(e.live, route) {
					e.hasEnded(life)
				}
			})
		}
	}
}

// hasEnded tells this node and all others what this voter has found.
func (e *Engine) hasEnded(life voterLife) {
	e.log.Info("the process of a voter seems to have ended: its machine refuses connections", "voter", life.Node)
	e.endings.note(life, time.Now())
	e.sendReport(false)
	e.count(life, e.cfg.Node)
}

// count takes the word of one voter, and acts when a majority says so.
func (e *Engine) count(life voterLife, from string) {
	if voices := e.endings.word(life, from, time.Now()); 2*voices > e.Votes().Voters && e.cfg.Events.Ended != nil {
		e.cfg.Events.Ended(life.Node, life.Number)
	}
}

// heardEnded takes the word of a voter that others have ended. Whoever is told asks them:
// it is a reason to ask, and no evidence.
func (e *Engine) heardEnded(r *report) {
	if r.Route != "" && slices.Contains(e.cfg.Routes, r.Route) {
		e.endings.learn(r.Route, voterLife{r.Node, r.Number})
	}
	if len(r.Ended) == 0 || len(r.Ended) > maxServers || e.cfg.Events.Ended == nil || !slices.Contains(e.Votes().Connected, r.Node) {
		return
	}
	for _, life := range r.Ended {
		e.count(life, r.Node)
	}
}

// nobodyListens reports whether the machine of an address says that nobody listens there. Why
// several attempts: the kernel closes what a killed process had one after another, so the
// listener may outlive the routes for a moment.
func nobodyListens(ctx context.Context, address string) bool {
	dialer := net.Dialer{Timeout: endedWait}
	for range endedDials {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
		if err != nil {
			return false
		}
		_ = conn.Close()
		pause := time.NewTimer(4 * lookSoon)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return false
		}
	}
	return false
}
