package admin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	nodeevents "github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/loopnode"
)

// What has happened on a node that somebody may ask about later. Each node keeps its
// own last events in a ring; a question gathers those of all nodes. Nothing is kept
// across a restart.
//
// Where do they come from? Changes of the membership are told by the node
// (cluster.Node.Events); loops, counters and actors are looked at once a second
// (watch.go); orders of operators are noted by who carries them out (orders.go). Each has
// a code, from which its kind and its level follow, so that one cannot be written down
// wrongly.
//
// How does a reader not miss one, and get none twice? The events of one life of a node
// are numbered without gaps. A reader keeps the last number and the incarnation it
// belongs to for each node, and asks for what is behind; another incarnation begins
// anew. What has left the ring before it was read is lost, and shows as a gap in the
// numbers of the ids.

// Event is one thing that happened.
type Event struct {
	// NODE/INCARNATION/NUMBER; the numbers of a node count up.
	ID string `json:"id"`
	// By the clock of Node.
	Time time.Time `json:"time"`
	// Whose event it is.
	Node string `json:"node"`
	Code string `json:"code"`
	// Node, loop, call, actor, order or nats.
	Kind string `json:"kind"`
	// Info, warn or error.
	Level string `json:"level"`
	// What it is about, an id of this API where there is one.
	Subject string `json:"subject"`
	Text    string `json:"text"`
	// The evidence.
	Why   string `json:"why,omitempty"`
	Count uint64 `json:"count,omitempty"`

	number uint64
}

// maxEvents bounds the ring: some hundred kilobytes.
const maxEvents = 1024

// ring is the last events of one node, oldest first. Guarded by mu.
type ring struct {
	mu     sync.Mutex
	events []Event
	last   uint64
	counts map[string]uint64 // by code, since the start
}

// newRing makes an empty one.
func newRing() *ring { return &ring{counts: map[string]uint64{}} }

// add gives the event its number and keeps it. When the ring is full, an eighth of it goes
// at once, so that adding costs a copy only once in a hundred times.
func (r *ring) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	e.number = r.last
	if len(r.events) == maxEvents {
		r.events = r.events[:copy(r.events, r.events[maxEvents/8:])]
	}
	r.events = append(r.events, e)
	r.counts[e.Code]++
}

// byCode is how many events there were of each code, those that have left the ring too.
func (r *ring) byCode() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

// behind are the events with a number above after, the newest most of them.
func (r *ring) behind(after uint64, most int) (events []Event, last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, _ := slices.BinarySearchFunc(r.events, after+1, func(e Event, n uint64) int { return int(int64(e.number) - int64(n)) })
	out := r.events[i:]
	return slices.Clone(out[max(0, len(out)-most):]), r.last
}

// kindsOfCodes and levels are made from the code: the area is its first digit, but for some
// orders whose numbers stand elsewhere.
var otherKinds = map[string]string{codeReloaded: "order", codeReloadRefused: "order", codeTraced: "order", CodeResumed: "order"}

// kindOf is the kind of events with this code.
func kindOf(code string) string { return cmp.Or(otherKinds[code], kindsOfCodes[code[2]]) }

var kindsOfCodes = map[byte]string{'2': "loop", '3': "call", '4': "node", '5': "actor", '6': "order", '7': "nats"}

var levels = map[string]string{
	codeLoopBlocked: "error", codeCallsRefused: "warn", codeCallsLost: "warn", codeRightMissing: "error", codeSuspect: "warn", codeDead: "error",
	codeFenced: "error", codeLost: "error", codeActorFailed: "warn", codeNATSDisconnected: "error", codeNATSDropped: "error", codeLoopEnded: "warn", codeDeadLetter: "warn", codeDeadTimer: "warn", codeReloadRefused: "warn",
}

// levelOf is how bad an event with this code is.
func levelOf(code string) string { return cmp.Or(levels[code], "info") }

// note keeps an event of this node. Any goroutine; it does not wait.
func (s *Server) note(e Event) {
	e.Node, e.Time, e.Kind, e.Level = s.node.Name(), time.Now().UTC(), kindOf(e.Code), levelOf(e.Code)
	s.events.add(e)
}

// eventQuestion is what nodes ask each other: the events behind a number of this life.
type eventQuestion struct {
	After       uint64 `json:"after"`
	Incarnation string `json:"incarnation"`
}

// eventAnswer is a part of the ring, and where to go on.
type eventAnswer struct {
	Events      []Event `json:"events"`
	Last        uint64  `json:"last"`
	Incarnation string  `json:"incarnation"`
}

// maxEventsTold bounds one answer, which has to fit into a message.
const maxEventsTold = 500

// askEvents tells the events of a node; it is called on the loop LoopName.
var askEvents = cluster.Func(internalPrefix+"events", func(ctx context.Context, q eventQuestion) (eventAnswer, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return eventAnswer{}, cluster.ErrNoNode
	}
	found, ok := servers.Load(node)
	if !ok {
		return eventAnswer{}, cluster.ErrClosed
	}
	s, life := found.(*Server), incarnation(node.Incarnation())
	if q.Incarnation != life {
		q.After = 0
	}
	events, last := s.events.behind(q.After, maxEventsTold)
	for i := range events {
		events[i].ID = node.Name() + "/" + life + "/" + itoa(events[i].number)
	}
	return eventAnswer{events, last, life}, nil
})

// eventFilter is what of the events is wanted. Zero values want everything.
type eventFilter struct {
	since   time.Time
	kinds   []string // of events, or codes
	subject string   // contained in Subject
}

// wants reports whether the filter lets an event through. The filter is applied by the
// node that was asked and not by those that tell: their numbers go on, whoever reads.
func (f *eventFilter) wants(e Event) bool {
	return !e.Time.Before(f.since) &&
		(len(f.kinds) == 0 || slices.Contains(f.kinds, e.Kind) || slices.Contains(f.kinds, e.Code)) &&
		(f.subject == "" || strings.Contains(e.Subject, f.subject))
}

// reader follows the events of all nodes: what it has seen of each.
type reader struct {
	s      *Server
	filter eventFilter
	seen   map[string]eventQuestion
}

// follow makes a reader that has seen nothing yet.
func (s *Server) follow(f eventFilter) *reader { return &reader{s, f, map[string]eventQuestion{}} }

// next asks every member for what is new, and gives it in the order of time.
func (r *reader) next(ctx context.Context) *List[Event] {
	list := newList[Event]("EventList")
	members := r.s.node.Members()
	answers, errs := make([]eventAnswer, len(members)), make([]error, len(members))
	inParallel(len(members), func(i int) {
		answers[i], _, errs[i] = ask(ctx, r.s, askEvents, members[i].Name+"/"+LoopName, r.seen[members[i].Name])
	})
	for i, m := range members {
		if errs[i] != nil {
			list.missing(m.Name, errs[i])
			continue
		}
		r.seen[m.Name] = eventQuestion{answers[i].Last, answers[i].Incarnation}
		for _, e := range answers[i].Events {
			if r.filter.wants(e) {
				list.Items = append(list.Items, e)
			}
		}
	}
	slices.SortStableFunc(list.Items, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return list
}

// memberChanged notes a change of the membership, and keeps who has gone. Loop
// goroutine of the loop LoopName.
func (s *Server) memberChanged(c nodeevents.Event) {
	code := map[nodeevents.Kind]string{
		nodeevents.Joined: codeJoined, nodeevents.Suspect: codeSuspect, nodeevents.Back: codeBack, nodeevents.Dead: codeDead,
		nodeevents.Left: codeLeft, nodeevents.Fenced: codeFenced, nodeevents.Serving: codeServing, nodeevents.NameLost: codeLost,
	}[c.Kind]
	switch {
	case c.Letter == nil:
	case c.Kind == nodeevents.DeadLetter:
		s.note(letterEvent(c))
		return
	case c.Kind == nodeevents.DeadTimer:
		s.note(timerEvent(c))
		return
	}
	if code == "" {
		return
	}
	s.former.changed(c)
	s.note(Event{Code: code, Subject: c.Member.Name, Text: "node " + c.Member.Name + " " + c.Kind.String(), Why: c.Why})
}

// letterEvent is a dead letter as an event here. Its subject is the id that 'command
// requeue' takes.
func letterEvent(c nodeevents.Event) Event {
	l := c.Letter
	text := fmt.Sprintf("a command of queue %s is a dead letter after %d attempts", l.Queue, l.Attempts)
	if l.Key != "" {
		text += ", key " + l.Key
	}
	return Event{Code: codeDeadLetter, Subject: storeID(l.Queue, l.ID), Text: text, Why: l.Reason, Count: c.Count}
}

// timerEvent is a call for later that was given up as an event here. Its subject is the id that
// 'timer fire' takes.
func timerEvent(c nodeevents.Event) Event {
	l := c.Letter
	text := fmt.Sprintf("a call for later of group %s is dead after %d attempts", l.Group, l.Attempts)
	if l.Recurs {
		text = fmt.Sprintf("a time of a recurring call of group %s was given up after %d attempts; it goes on with the next one", l.Group, l.Attempts)
	}
	return Event{Code: codeDeadTimer, Subject: storeID(l.Group, l.ID), Text: text, Why: l.Reason, Count: c.Count}
}

// former are the members that are gone, by name, so that a killed node is not just
// missing in a list. Guarded by mu.
type former struct {
	mu   sync.Mutex
	gone map[string]nodeevents.Event
}

// Who is gone is kept for a day, and no more of them than maxFormer.
const (
	keepFormer = 24 * time.Hour
	maxFormer  = 256
)

// changed notes who has gone and forgets who is back. With too many, those that went
// first are forgotten: they are the least likely to be asked for.
func (f *former) changed(c nodeevents.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch c.Kind {
	case nodeevents.Joined, nodeevents.Back:
		delete(f.gone, c.Member.Name)
	case nodeevents.Dead, nodeevents.Left:
		if f.gone == nil {
			f.gone = map[string]nodeevents.Event{}
		}
		f.gone[c.Member.Name] = c
		if len(f.gone) > maxFormer {
			oldest := c
			for _, e := range f.gone {
				if e.Time.Before(oldest.Time) {
					oldest = e
				}
			}
			delete(f.gone, oldest.Member.Name)
		}
	}
}

// list gives those that are gone and not members again, by name.
func (f *former) list(now time.Time, members []nodeView) []nodeevents.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []nodeevents.Event
	for name, c := range f.gone {
		lives := slices.ContainsFunc(members, func(v nodeView) bool { return v.Name == name })
		if now.Sub(c.Time) > keepFormer {
			delete(f.gone, name)
		} else if !lives {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b nodeevents.Event) int { return strings.Compare(a.Member.Name, b.Member.Name) })
	return out
}

// hear lets the server hear of changes, on its loop, until that is closed.
func (s *Server) hear(loop *loopnode.Loop) error {
	_, err := s.node.OnEvents(loop, s.memberChanged)
	return err
}
