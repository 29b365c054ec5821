package placement

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/cluster/names"
)

// Times of the supervisor. A node that does not answer is asked more seldom: it may stand
// still, and the others do not wait for it.
const (
	lookEach  = 500 * time.Millisecond
	askLimit  = time.Second
	askAgain  = 5 * time.Second
	askAtOnce = 16

	missingFor = 2 * time.Second
	maxDead    = 4096 // lives that are remembered
)

// The supervisor does three things in each round, and the order matters:
//
//  1. it asks the hosts what they have;
//  2. it writes down what has ended, against the sequence of the record that it knows;
//  3. it gives orders, and with them has the hosts forget what has ended.
//
// A supervisor that dies between 2 and 3 leaves hosts that still tell of the end. So an end is
// written down with the token of its run, which is higher for each later one, and the next
// supervisor, or the next round, does not count it again. One that dies between 1 and 2 has
// done nothing.
//
// Two supervisors at once, for the time of a lease, do no harm either: the writes of 2 are
// compare-and-set, and an instance that both start on two nodes waits on one of them for
// its name, until the plan finds it there and stops it.

// supervisor is what one ownership of the name "placement" works with. Its goroutine owns
// it; the table of what is wanted is guarded by mu.
type supervisor struct {
	node  *cluster.Node
	store *records.Records
	log   hclog.Logger
	owner *names.Ownership

	last    map[string]host // by target: what a host told last
	died    []host          // whose node has died, with what ran there, until it is written down
	missing map[string]missing
	mute    map[string]time.Time // hosts that did not answer: when to ask again

	mu     sync.Mutex
	dead   map[string]bool // lives of nodes that have died, and have not joined again
	wants  map[string]want // by subject
	caught bool
	news   chan struct{} // holds one when wants has changed
}

// supervise is the body of the singleton "placement": it plans and gives orders until ctx
// ends, which it does with the ownership.
func supervise(ctx context.Context, n *cluster.Node, o *names.Ownership) error {
	s := &supervisor{
		node: n, store: storeOf(n), log: n.Inside(inside.Key{}).Log.Named("placement"), owner: o,
		last: map[string]host{}, dead: map[string]bool{}, missing: map[string]missing{}, mute: map[string]time.Time{}, wants: map[string]want{}, news: make(chan struct{}, 1),
	}
	_, err := wait.Do(ctx, func(ctx context.Context) (struct{}, error) {
		ctx, cancel := context.WithCancel(ctx)
		var reading sync.WaitGroup
		// goroutine: owner: supervise, which waits for it; ends with ctx
		reading.Go(func() { s.store.Follow(ctx, []string{prefix + ">"}, reader{s}) })
		// goroutine: owner: supervise, which waits for it; ends with ctx
		reading.Go(func() { s.deaths(ctx) })
		s.run(ctx)
		cancel()
		reading.Wait()
		return struct{}{}, context.Cause(ctx)
	})
	return err
}

// run looks again and again.
func (s *supervisor) run(ctx context.Context) {
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	for ctx.Err() == nil {
		if wants, ok := s.wanted(); ok && s.owner.Held() {
			hosts, targets := s.ask(ctx)
			if unsettled, ok := s.settle(ctx, wants, append(slices.Clone(s.died), hosts...)); ok {
				s.died = slices.DeleteFunc(s.died, func(h host) bool { return !h.any(unsettled) })
				orders := slices.DeleteFunc(plan(time.Now(), wants, hosts), func(o order) bool { return unsettled[o.id] })
				s.give(ctx, orders, targets)
			}
		}
		select {
		case <-tick.C:
		case <-s.news:
		case <-ctx.Done():
		}
	}
}

// wanted is a copy of what is wanted; false until all of it has been read.
func (s *supervisor) wanted() (map[id]want, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[id]want, len(s.wants))
	for _, w := range s.wants {
		out[w.ID] = w
	}
	return out, s.caught
}

// ask asks the hosts what they have, some at a time, each for at most askLimit. One that is
// in the group and does not answer has what it told last; of one that never told, nothing is
// known, and nothing is given to it. Who is dead or has left is not in the group.
func (s *supervisor) ask(ctx context.Context) ([]host, map[string]groups.Member) {
	members := groups.Members(s.node, hostsGroup)
	answers := make([]*host, len(members))
	var work sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for i, m := range members {
		if time.Now().Before(s.mute[target(m)]) {
			continue
		}
		slots <- struct{}{}
		// goroutine: owner: ask, which waits for it; ends when the host has answered, or after askLimit
		work.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, askLimit)
			defer cancel()
			r, err := listFunc.Via(s.node).Call(ctx, m.Ref, struct{}{})
			if err != nil {
				s.log.Debug("a node did not say what it has", "host", target(m), "error", err)
				return
			}
			h := host{node: target(m), kinds: r.Kinds, has: map[id]standing{}}
			for _, t := range r.Has {
				h.has[t.ID] = t.standing
			}
			answers[i] = &h
		})
	}
	work.Wait()
	last, mute, targets := map[string]host{}, map[string]time.Time{}, map[string]groups.Member{}
	var hosts []host
	for i, m := range members {
		at := target(m)
		h, known := s.last[at]
		switch {
		case answers[i] != nil:
			h, known, targets[at] = *answers[i], true, m
		case time.Now().Before(s.mute[at]):
			mute[at] = s.mute[at]
		default:
			mute[at] = time.Now().Add(askAgain)
		}
		if known {
			if answers[i] == nil {
				h.kinds = nil // it takes nothing new
			}
			last[at] = h
			hosts = append(hosts, h)
		}
	}
	s.bury(last)
	s.last, s.mute = last, mute
	return hosts, targets
}

// deaths notes which nodes have died, and has the supervisor look.
func (s *supervisor) deaths(ctx context.Context) {
	for e := range s.node.Events(ctx) {
		of := life{e.Member.Name, e.Member.Incarnation}.String()
		s.mu.Lock()
		switch e.Kind {
		case events.Dead:
			s.dead[of] = true
			s.look()
		case events.Joined: // it was given up, and lives
			delete(s.dead, of)
		}
		s.mu.Unlock()
	}
}

// bury keeps what ran on hosts whose node has died: their instances have failed. A host that
// is gone otherwise has left, and has ended its instances in order. Which of both it is may
// be told a moment later than that it is gone, hence missing.
func (s *supervisor) bury(now map[string]host) {
	for at, h := range s.last {
		if _, there := now[at]; !there {
			s.missing[at] = missing{h, time.Now()}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, m := range s.missing {
		of, _, _ := strings.Cut(at, "/")
		if s.dead[of] {
			for i, st := range m.has {
				if st.Owns {
					m.has[i] = standing{Ended: true, Error: "its node died", Token: st.Token}
				}
			}
			s.died = append(s.died, m.host)
		} else if time.Since(m.since) < missingFor {
			continue
		}
		delete(s.missing, at)
	}
	if len(s.missing) == 0 && len(s.dead) > maxDead {
		clear(s.dead)
	}
}

// missing is a host that is gone, until it is known why.
type missing struct {
	host
	since time.Time
}

// target names a host in orders: a loop of one life of a node.
func target(m groups.Member) string {
	return life{m.Node, m.Ref.Address().Incarnation}.String() + "/" + m.Loop
}

// life is one life of a node.
type life struct {
	node        string
	incarnation uint64
}

func (l life) String() string { return l.node + "@" + strconv.FormatUint(l.incarnation, 10) }

// settle writes down how instances have ended, before their hosts forget them. It returns
// those of which that did not work, which get no orders in this round: somebody else has
// changed the record, or it does not fit. false: the store does not answer, and nobody gets any.
func (s *supervisor) settle(ctx context.Context, wants map[id]want, hosts []host) (unsettled map[id]bool, ok bool) {
	unsettled = map[id]bool{}
	for _, h := range hosts {
		for i, st := range h.has {
			w, ok := wants[i]
			if !ok || w.State != Wanted || !st.Ended || st.Token <= w.Ended {
				continue
			}
			w, ttl := s.afterRun(w, h, st)
			seq, err := s.store.Put(ctx, i.subject(), w.encode(), w.seq, ttl)
			if err == nil {
				w.seq = seq
				wants[i] = w
				s.keep(w)
				continue
			}
			s.log.Debug("the end of an instance could not be written down", "kind", i.Kind, "name", i.Name, "error", err)
			if !errors.Is(err, records.ErrConflict) && !errors.Is(err, records.ErrFull) {
				return nil, false
			}
			unsettled[i] = true
		}
	}
	return unsettled, true
}

// afterRun is the record of an instance after a run of it has ended, and for how long it is
// kept; 0: for ever.
func (s *supervisor) afterRun(w want, h host, st standing) (want, time.Duration) {
	w.Ended = st.Token
	if st.Error == "" {
		w.State, w.Error = Finished, ""
		return w, keepEnded
	}
	w = w.failed(time.Now(), h.node, st.Error)
	s.log.Warn("an instance failed", "kind", w.ID.Kind, "name", w.ID.Name, "host", h.node, "failures", len(w.Failures), "budget", w.Most, "error", st.Error)
	if w.State == Failed {
		s.log.Error("an instance has spent its budget of restarts, and is not started any more", "kind", w.ID.Kind, "name", w.ID.Name, "error", st.Error)
	}
	return w, 0
}

// keep puts a record into the table that this supervisor has written itself, unless a
// newer one has been read.
func (s *supervisor) keep(w want) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wants[w.ID.subject()].seq < w.seq {
		s.wants[w.ID.subject()] = w
	}
}

// give gives the orders: those of one host one after another, all hosts at once, so that none
// waits for another one. An order that is lost is given again by the next plan, since the
// host says then what it has.
func (s *supervisor) give(ctx context.Context, orders []order, targets map[string]groups.Member) {
	byHost := map[string][]order{}
	for _, o := range orders {
		if _, ok := targets[o.node]; ok {
			byHost[o.node] = append(byHost[o.node], o)
		}
	}
	var work sync.WaitGroup
	var mu sync.Mutex // of s.mute
	slots := make(chan struct{}, askAtOnce)
	for at, orders := range byHost {
		slots <- struct{}{}
		// goroutine: owner: give, which waits for it; ends when the host has the orders, or lets one wait for askLimit
		work.Go(func() {
			defer func() { <-slots }()
			if !s.giveHost(ctx, targets[at], orders) {
				mu.Lock()
				defer mu.Unlock()
				s.mute[at] = time.Now().Add(askAgain)
			}
		})
	}
	work.Wait()
}

// giveHost gives one host its orders; false when it does not answer: it gets no more of them
// in this round, which would each wait as long.
func (s *supervisor) giveHost(ctx context.Context, m groups.Member, orders []order) bool {
	for _, o := range orders {
		if !s.owner.Held() || ctx.Err() != nil {
			break
		}
		limited, cancel := context.WithTimeout(ctx, askLimit)
		var err error
		if o.start {
			_, err = startFunc.Via(s.node).Call(limited, m.Ref, o.id)
		} else {
			_, err = stopFunc.Via(s.node).Call(limited, m.Ref, o.id)
		}
		cancel()
		if err == nil {
			continue
		}
		s.log.Debug("an order was not carried out; the next plan repeats it", "host", o.node, "kind", o.id.Kind, "name", o.id.Name, "start", o.start, "error", err)
		if errors.Is(err, cluster.ErrExpired) {
			return false
		}
	}
	return true
}

// reader keeps the table of what is wanted in step with the store.
type reader struct{ *supervisor }

// Reset forgets the table.
func (r reader) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.wants)
	r.caught = false
}

// Record keeps or removes an instance.
func (r reader) Record(rec records.Record) {
	w, ok := readWant(rec)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch have, known := r.wants[rec.Subject]; {
	case known && have.seq >= rec.Seq: // written by this supervisor, and kept then
		return
	case ok:
		r.wants[rec.Subject] = w
	case !known:
		return
	default:
		delete(r.wants, rec.Subject)
	}
	r.look()
}

// Caught says that all there is has been read.
func (r reader) Caught() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.caught = true
	r.look()
}

// look has the supervisor look.
func (s *supervisor) look() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}
