package membership

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestRandomClusters runs clusters of machines over a model of a NATS server in
// virtual time, with processes that are stopped, killed and replaced, partitions,
// and a server that is stopped and started again. It checks, in every run:
//
//   - nobody is given up who was not stopped, killed or cut off for long enough:
//     what the observer or the server did is never taken for the death of others;
//   - who is gone is known by everybody who can know it: killed within 50 ms, stopped
//     within 5 s;
//   - of two lives of a name the older one serves nobody any more soon after both
//     can be heard, and never both survive;
//   - what somebody invents who publishes in the names of others, and is asked in vain,
//     ends nobody;
//   - events about a node come in an order that makes sense;
//   - after the faults, everybody sees the same members.
func TestRandomClusters(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	total := count{}
	for seed := range seeds {
		w := newWorld(t, seed)
		w.run(60 * time.Second)
		w.heal()
		w.run(85 * time.Second)
		w.agree()
		total.add(w.count)
		if t.Failed() {
			t.Fatalf("seed %d; the last events:\n%s", seed, w.tail())
		}
	}
	t.Logf("%d runs: %+v", seeds, total)
	if total.deaths == 0 || total.lost == 0 || total.refused == 0 || total.stops == 0 {
		t.Errorf("the runs did not meet what they are for: %+v", total)
	}
}

type count struct{ kills, stops, cuts, twins, serverStops, serverRestarts, deaths, lost, refused, fenced, forged int }

func (c *count) add(o count) {
	c.kills += o.kills
	c.stops += o.stops
	c.cuts += o.cuts
	c.twins += o.twins
	c.serverStops += o.serverStops
	c.serverRestarts += o.serverRestarts
	c.deaths += o.deaths
	c.lost += o.lost
	c.refused += o.refused
	c.fenced += o.fenced
	c.forged += o.forged
}

const (
	modelTick = 250 * time.Millisecond
	staleCut  = 6 * time.Second // after which server and client give up a silent connection
	retry     = 250 * time.Millisecond
	blameless = 1700 * time.Millisecond // a process may stand still this long and nobody may notice more than a suspicion
)

// process is one life of a node.
type process struct {
	id      ID
	m       *Machine
	alive   bool
	stopped bool // SIGSTOP
	netcut  bool
	conn    *conn // the client's view: nil when it knows that it has none
	inbox   []func(now time.Duration)
	heard   time.Duration // client: last traffic of the server
	ticks   uint64        // number of the tick chain: a stale one ends
	next    time.Duration // when the next tick comes

	faultEnd  time.Duration // until when what others think of it is its own fault
	stoppedAt time.Duration
	claimed   time.Duration
	seen      map[string]*seen // by name, what was reported
	reaches   time.Duration    // since when it reaches the server
}

// seen is the state of one name in the events of one observer.
type seen struct {
	member  bool
	suspect bool
	inc     uint64
	ended   time.Duration
}

// conn is a connection as the server knows it.
type conn struct {
	p       *process
	open    bool
	subs    bool          // the subject of the incarnation and of the name
	traffic time.Duration // last from the client
}

type world struct {
	t        *testing.T
	rng      *rand.Rand
	now      time.Duration
	events   eventQueue
	seq      int
	procs    []*process
	conns    []*conn
	backlog  []func() // what reached the server while it was stopped
	down     bool     // server: no process
	stopped  bool     // server: SIGSTOP
	stopAt   time.Duration
	faults   bool
	lastInc  uint64
	log      []string
	count    count
	serverOK time.Duration // since when
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), faults: true, lastInc: 1000}
	for i := range 3 + w.rng.IntN(3) {
		w.after(time.Duration(i)*20*time.Millisecond, func() { w.start(fmt.Sprintf("n%d", i)) })
	}
	w.after(5*time.Second, w.fault)
	w.after(50*time.Millisecond, w.watchdog)
	w.after(3*time.Second, w.forge)
	return w
}

type event struct {
	at time.Duration
	n  int
	do func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].n < q[j].n
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now + d, w.seq, do})
}

func (w *world) run(until time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= until {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8v ", w.now.Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

func (w *world) tail() (out string) {
	for _, line := range w.log[max(0, len(w.log)-150):] {
		out += line + "\n"
	}
	return out
}

// hop is the time a message takes.
func (w *world) hop() time.Duration { return time.Duration(w.rng.IntN(2000)) * time.Microsecond }

// start makes a process of that name, with a later incarnation than all before.
func (w *world) start(name string) *process {
	w.lastInc += 1 + uint64(w.rng.IntN(3))
	p := &process{id: ID{name, w.lastInc}, alive: true, seen: map[string]*seen{}, faultEnd: w.now + 5*time.Second}
	cfg := Defaults(time.Second, 3*time.Second)
	cfg.Secret = w.rng.Uint64() >> 16
	p.m = New(cfg, p.id)
	w.procs = append(w.procs, p)
	w.note("start %v", p.id)
	w.dial(p)
	w.tickLater(p, modelTick)
	return p
}

func (w *world) tickLater(p *process, d time.Duration) {
	p.ticks++
	p.next = w.now + d
	mine := p.ticks
	w.after(d, func() {
		if p.ticks == mine && p.alive {
			p.next = 0
			w.input(p, func(now time.Duration) { p.m.Tick(now) })
		}
	})
}

// input gives the process something to do. A stopped one finds it when it goes on.
func (w *world) input(p *process, do func(now time.Duration)) {
	switch {
	case !p.alive:
	case p.stopped:
		p.inbox = append(p.inbox, do)
	default:
		do(w.now)
		w.drain(p)
	}
}

func (w *world) drain(p *process) {
	out := p.m.Take()
	for _, e := range out.Events {
		w.reported(p, e)
	}
	for _, msg := range out.Messages {
		w.publish(p, msg)
	}
	next := modelTick
	if out.Wake > 0 && out.Wake-w.now < next {
		next = max(out.Wake-w.now, time.Millisecond)
	}
	if p.next == 0 || p.next > w.now+next {
		w.tickLater(p, next)
	}
	switch p.m.phase {
	case refused, lost, left:
		w.exit(p)
	}
}

// exit ends a process. The kernel closes its connection.
func (w *world) exit(p *process) {
	if !p.alive {
		return
	}
	p.alive = false
	w.note("exit %v", p.id)
	if c := p.conn; c != nil && !p.netcut {
		w.toServer(func() { w.closeConn(c, true) })
	}
}

// reaches reports that packets between the process and the server arrive.
func (w *world) linked(p *process) bool { return !p.netcut && !w.down }

// dial connects a process; it tries again until it succeeds.
func (w *world) dial(p *process) {
	if !p.alive || p.conn != nil {
		return
	}
	if p.stopped || !w.linked(p) || w.stopped {
		w.after(retry+w.hop()*100, func() { w.dial(p) })
		return
	}
	c := &conn{p: p, open: true, traffic: w.now, subs: p.m.phase != idle && p.m.phase != probing}
	w.conns = append(w.conns, c)
	p.conn, p.heard, p.reaches = c, w.now, w.now
	w.input(p, func(now time.Duration) { p.m.Connected(now) })
}

// toServer runs do at the server after a hop; a stopped one finds it later.
func (w *world) toServer(do func()) {
	w.after(w.hop(), func() {
		switch {
		case w.down:
		case w.stopped:
			w.backlog = append(w.backlog, do)
		default:
			do()
		}
	})
}

// toClient runs do in the process, in order of its connection.
func (w *world) toClient(c *conn, do func(now time.Duration)) {
	w.after(2*time.Millisecond, func() {
		if !c.open || c.p.conn != c || c.p.netcut {
			return
		}
		c.p.heard = w.now
		w.input(c.p, func(now time.Duration) {
			if c.p.conn == c {
				do(now)
			}
		})
	})
}

// publish sends a message of a process.
func (w *world) publish(p *process, msg Message) {
	c := p.conn
	if c == nil || p.netcut {
		return
	}
	w.toServer(func() {
		if !c.open {
			return
		}
		c.traffic = w.now
		w.route(c, msg)
	})
}

func (w *world) route(from *conn, msg Message) {
	switch {
	case msg.Kind == Probe:
		found := false
		for _, c := range w.conns {
			if c.open && c.subs && c.p.id.Name == msg.To.Name {
				found = true
				w.toClient(c, func(now time.Duration) { c.p.m.Step(now, msg) })
			}
		}
		if !found {
			w.toClient(from, func(now time.Duration) { from.p.m.NobodyHolds(now) })
		}
	case msg.To == ID{}:
		if msg.Kind == Claim {
			from.subs = true
		}
		for _, c := range w.conns {
			if c.open {
				w.toClient(c, func(now time.Duration) { c.p.m.Step(now, msg) })
			}
		}
	default:
		w.direct(from, msg)
	}
}

func (w *world) direct(from *conn, msg Message) {
	for _, c := range w.conns {
		if c.open && c.p.id == msg.To {
			w.toClient(c, func(now time.Duration) { c.p.m.Step(now, msg) })
			return
		}
	}
	if msg.Kind == Ask {
		w.toClient(from, func(now time.Duration) { from.p.m.Absent(now, msg.To) })
	}
}

// closeConn ends a connection at the server, which tells everybody.
func (w *world) closeConn(c *conn, byProcess bool) {
	if !c.open {
		return
	}
	c.open = false
	for _, o := range w.conns {
		if o.open {
			w.toClient(o, func(now time.Duration) { o.p.m.Notice(now, c.p.id, byProcess) })
		}
	}
	w.clientLost(c)
}

// clientLost tells a process that can hear it that its connection has ended.
func (w *world) clientLost(c *conn) {
	p := c.p
	w.after(w.hop(), func() {
		if p.conn == c && p.alive && !p.netcut {
			w.dropClient(p)
		}
	})
}

func (w *world) dropClient(p *process) {
	c := p.conn
	w.input(p, func(now time.Duration) {
		if p.conn == c {
			p.conn = nil
			p.m.Disconnected(now)
			w.after(time.Millisecond, func() { w.dial(p) })
		}
	})
}

// watchdog is what time does to connections, and what is checked all the time.
func (w *world) watchdog() {
	w.after(50*time.Millisecond, w.watchdog)
	kept := w.conns[:0]
	for _, c := range w.conns {
		p := c.p
		if c.open && p.alive && !p.stopped && !p.netcut && p.conn == c && !w.stopped && !w.down {
			c.traffic, p.heard = w.now, w.now // pings
		}
		if c.open && !w.stopped && !w.down && w.now-max(c.traffic, w.serverOK) > staleCut {
			w.closeConn(c, false)
		}
		if p.alive && !p.stopped && p.conn == c && w.now-p.heard > staleCut {
			w.dropClient(p)
			w.toServerIf(p, func() { w.closeConn(c, true) })
		}
		if c.open {
			kept = append(kept, c)
		}
	}
	w.conns = kept
	w.checkTwins()
}

func (w *world) toServerIf(p *process, do func()) {
	if !p.netcut {
		w.toServer(do)
	}
}

// checkTwins: of two lives of one name that both reach the server for longer than
// a heartbeat and the time to object, the older one does not serve.
func (w *world) checkTwins() {
	const soon = 1200 * time.Millisecond
	ok := func(p *process) bool {
		return p.alive && !p.stopped && !p.netcut && p.conn != nil && p.conn.open && p.m.established() &&
			w.now-p.reaches > soon && w.now-p.claimed > soon && w.now-w.serverOK > soon && !w.stopped && !w.down
	}
	for _, a := range w.procs {
		for _, b := range w.procs {
			if a.id.Name == b.id.Name && a.id.Incarnation < b.id.Incarnation && ok(a) && ok(b) && a.m.ServeUntil() > w.now {
				w.t.Errorf("%v: %v still serves, %v has its name", w.now, a.id, b.id)
			}
		}
	}
}

// reported checks what a machine reports.
func (w *world) reported(p *process, e Event) {
	w.note("%v reports %v %v: %s", p.id, e.Kind, e.ID, e.Why)
	switch e.Kind {
	case Claimed:
		p.claimed = w.now
		p.m.Announce(w.now)
		return
	case Refused:
		w.count.refused++
		return
	case Lost:
		w.count.lost++
		w.checkLost(p, e)
		return
	case Fenced:
		w.count.fenced++
		return
	case Serving:
		return
	}
	w.checkOrder(p, e)
	if e.Kind == Dead {
		w.count.deaths++
		w.checkDeath(p, e)
	}
}

func (w *world) checkOrder(p *process, e Event) {
	s := p.seen[e.ID.Name]
	if s == nil {
		s = &seen{}
		p.seen[e.ID.Name] = s
	}
	bad := false
	switch e.Kind {
	case Joined:
		bad = s.member || e.ID.Incarnation < s.inc && w.now-s.ended < 12*time.Second
		*s = seen{member: true, inc: e.ID.Incarnation}
	case Suspect:
		bad = !s.member || s.suspect || e.ID.Incarnation != s.inc
		s.suspect = true
	case Back:
		bad = !s.member || !s.suspect || e.ID.Incarnation != s.inc
		s.suspect = false
	case Dead, Left:
		bad = !s.member || e.ID.Incarnation != s.inc
		s.member, s.suspect, s.ended = false, false, w.now
	}
	if bad {
		w.t.Errorf("%v: %v reports %v %v out of order", w.now, p.id, e.Kind, e.ID)
	}
}

// checkDeath: only a node that was stopped for long, killed, cut off or replaced may
// be called dead.
func (w *world) checkDeath(p *process, e Event) {
	for _, o := range w.procs {
		if o.id != e.ID {
			continue
		}
		newer := false
		for _, other := range w.procs {
			newer = newer || other.id.Name == o.id.Name && other.id.Incarnation > o.id.Incarnation
		}
		long := o.stopped && w.now-o.stoppedAt > blameless
		if o.alive && !o.netcut && !long && w.now > o.faultEnd && !newer {
			w.t.Errorf("%v: %v calls %v dead (%s), which did nothing wrong", w.now, p.id, e.ID, e.Why)
		}
	}
}

// checkLost: a node may lose its name to a node only that has really had it.
func (w *world) checkLost(p *process, e Event) {
	for _, o := range w.procs {
		if o.id.Name == p.id.Name && o.id.Incarnation > p.id.Incarnation && o.claimed > 0 {
			return
		}
	}
	w.t.Errorf("%v: %v lost its name to %v, and no newer node ever had it", w.now, p.id, e.ID)
}

// forge publishes in the names of others, as anybody can where there are no keys: that
// a newer incarnation of a node lives, and that every other node has known it.
func (w *world) forge() {
	if !w.faults {
		return
	}
	w.after(time.Duration(50+w.rng.IntN(1500))*time.Millisecond, w.forge)
	of := w.procs[w.rng.IntN(len(w.procs))]
	victim := of.id
	if of.alive && !of.stopped && !of.netcut && of.conn != nil && of.conn.open {
		w.ended(victim) // not true
	}
	invented := ID{victim.Name, 1_000_000 + uint64(w.rng.IntN(50))}
	forged := []Message{
		{Kind: Beat, From: invented, Seq: 1, Announced: true},
		{Kind: Claim, From: invented, Held: true, Announced: true},
		{Kind: Refuse, From: invented, To: victim, Other: invented.Incarnation},
		{Kind: Answer, From: invented, To: victim, Seq: uint64(w.rng.IntN(100)), Announced: true},
	}
	for _, p := range w.procs {
		// Not in the name of one that is stopped: it would be taken to live.
		if p.id.Name != victim.Name && p.alive && !p.stopped && !p.netcut {
			forged = append(forged,
				Message{Kind: Refuse, From: p.id, To: victim, Other: invented.Incarnation},
				Message{Kind: Answer, From: p.id, To: victim, Seq: uint64(w.rng.IntN(100)), Outdated: true, Announced: true})
		}
	}
	w.count.forged++
	w.toServer(func() {
		for _, msg := range forged {
			w.route(&conn{p: &process{}}, msg)
		}
	})
}

// fault does something bad, and undoes it later.
func (w *world) fault() {
	if !w.faults {
		return
	}
	w.after(time.Duration(500+w.rng.IntN(6000))*time.Millisecond, w.fault)
	var alive []*process
	for _, p := range w.procs {
		if p.alive && !p.stopped && !p.netcut {
			alive = append(alive, p)
		}
	}
	if len(alive) == 0 {
		return
	}
	p := alive[w.rng.IntN(len(alive))]
	length := time.Duration(100+w.rng.IntN(9000)) * time.Millisecond
	switch w.rng.IntN(8) {
	case 0:
		w.count.kills++
		w.kill(p)
	case 1, 2:
		w.count.stops++
		w.stop(p, length)
	case 3:
		w.count.cuts++
		w.cut(p, length)
	case 4: // a twin: the first one is stopped or cut off, and replaced
		w.count.twins++
		if w.rng.IntN(2) == 0 {
			w.stop(p, length+4*time.Second)
		} else {
			w.cut(p, length+4*time.Second)
		}
		for i := range 8 {
			w.after(time.Duration(i)*time.Second, func() { w.replace(p.id.Name) })
		}
	case 5, 6:
		w.count.serverStops++
		w.stopServer(length)
	case 7:
		w.count.serverRestarts++
		w.restartServer(length / 4)
	}
}

// replace starts another life of a name, as a supervisor does, unless one of its own
// runs already.
func (w *world) replace(name string) {
	for _, p := range w.procs {
		if p.id.Name == name && p.alive && !p.stopped && !p.netcut {
			return
		}
	}
	w.start(name)
}

func (w *world) kill(p *process) {
	w.note("kill %v", p.id)
	w.exit(p)
	at := w.now
	if w.rng.IntN(2) == 0 { // a voter: the others tell of it, over and over
		for i := range 5 {
			w.after(time.Duration(i)*time.Second+w.hop(), func() { w.ended(p.id) })
		}
	}
	w.after(50*time.Millisecond, func() { w.known(p, at) })
	w.after(5*time.Second, func() { w.known(p, at) })
	w.after(time.Duration(w.rng.IntN(8000))*time.Millisecond, func() { w.replace(p.id.Name) })
}

// ended is the word of a voter that a process is gone, to everybody.
func (w *world) ended(id ID) {
	for _, c := range w.conns {
		if c.open {
			w.toClient(c, func(now time.Duration) { c.p.m.Ended(now, id) })
		}
	}
}

// known: everybody who was undisturbed for the whole time knows that p is gone.
func (w *world) known(p *process, since time.Duration) {
	if w.serverOK > since || w.stopped || w.down || p.alive && !p.stopped {
		return
	}
	for _, o := range w.procs {
		if !o.alive || o.stopped || o.netcut || o.conn == nil || o.reaches > since-4*time.Second || o.faultEnd > since || w.serverOK > since-4*time.Second {
			continue
		}
		if s := o.seen[p.id.Name]; s != nil && s.member && s.inc == p.id.Incarnation {
			w.t.Errorf("%v: %v does not know that %v is gone since %v", w.now, o.id, p.id, since)
		}
	}
}

func (w *world) stop(p *process, length time.Duration) {
	w.note("stop %v for %v", p.id, length)
	p.stopped, p.stoppedAt = true, w.now
	at := w.now
	w.after(length, func() { w.resume(p) })
	if length > 5*time.Second {
		w.after(5*time.Second, func() { w.known(p, at) })
	}
}

func (w *world) resume(p *process) {
	if !p.stopped {
		return
	}
	w.note("go on %v", p.id)
	p.stopped = false
	if w.now-p.stoppedAt > blameless {
		p.faultEnd = max(p.faultEnd, w.now+5*time.Second)
	}
	p.reaches = w.now
	queue := p.inbox
	p.inbox = nil
	if w.rng.IntN(2) == 0 { // the timer fires before the sockets are read
		w.input(p, func(now time.Duration) { p.m.Tick(now) })
	}
	for i, do := range queue {
		w.after(time.Duration(i)*time.Microsecond, func() { w.input(p, do) })
	}
	w.tickLater(p, time.Millisecond)
}

func (w *world) cut(p *process, length time.Duration) {
	w.note("cut off %v for %v", p.id, length)
	p.netcut = true
	w.after(length, func() { w.uncut(p) })
}

// uncut ends a partition. What was sent meanwhile is lost with the connection when
// one side has given it up; the model loses it in any case.
func (w *world) uncut(p *process) {
	if !p.netcut {
		return
	}
	w.note("reachable again %v", p.id)
	p.netcut = false
	p.reaches = w.now
	p.faultEnd = max(p.faultEnd, w.now+5*time.Second)
	if c := p.conn; c != nil && !c.open {
		w.clientLost(c)
	}
	for _, c := range w.conns { // half of a connection the client has given up
		if c.p == p && c.open && p.conn != c {
			w.toServer(func() { w.closeConn(c, true) })
		}
	}
	if !p.alive {
		for _, c := range w.conns {
			if c.p == p {
				w.toServer(func() { w.closeConn(c, true) })
			}
		}
	}
}

func (w *world) stopServer(length time.Duration) {
	if w.stopped || w.down {
		return
	}
	w.note("stop the server for %v", length)
	w.stopped, w.stopAt = true, w.now
	w.after(length, w.resumeServer)
}

func (w *world) resumeServer() {
	if !w.stopped {
		return
	}
	w.note("the server goes on")
	w.stopped, w.serverOK = false, w.now
	queue := w.backlog
	w.backlog = nil
	w.rng.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
	for i, do := range queue { // sockets are read in any order
		w.after(time.Duration(i)*50*time.Microsecond, func() {
			if !w.down && !w.stopped {
				do()
			}
		})
	}
}

func (w *world) restartServer(length time.Duration) {
	if w.stopped || w.down {
		return
	}
	w.note("the server is gone for %v", length)
	w.down = true
	for _, c := range w.conns {
		c.open = false
		w.clientLost(c)
	}
	w.conns = nil
	w.after(length, func() { w.note("a new server"); w.down, w.serverOK = false, w.now })
}

// heal ends all faults.
func (w *world) heal() {
	w.faults = false
	w.note("heal")
	w.resumeServer()
	if w.down {
		w.down, w.serverOK = false, w.now
	}
	for _, p := range w.procs {
		w.uncut(p)
		w.resume(p)
	}
}

// agree: everybody sees the same members, and of each name one lives.
func (w *world) agree() {
	want := map[ID]bool{}
	for _, p := range w.procs {
		if p.alive && p.m.phase == announced {
			for id := range want {
				if id.Name == p.id.Name {
					w.t.Errorf("both %v and %v live in the end", id, p.id)
				}
			}
			want[p.id] = true
		}
	}
	for _, p := range w.procs {
		if !p.alive || p.m.phase != announced {
			continue
		}
		if p.m.ServeUntil() < w.now {
			w.t.Errorf("%v does not serve in the end", p.id)
		}
		got := map[ID]bool{p.id: true}
		for _, have := range p.m.Members() {
			got[have.ID] = true
		}
		for id := range want {
			if !got[id] {
				w.t.Errorf("%v does not see %v in the end", p.id, id)
			}
		}
		if len(got) != len(want) {
			w.t.Errorf("%v sees %d members in the end, %d live", p.id, len(got), len(want))
		}
	}
}
