package prove

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// load is what the clients do during the faults.
type load struct {
	g    *ground
	size size
	stop chan struct{}
	work sync.WaitGroup

	mu       sync.Mutex
	accepted map[string]string // ids of commands and timers to the list that must hold them
	lists    map[string]bool
	wrong    []string // answers that cannot be
}

// size is how much of each kind the clients do.
type size struct {
	callers  int           // of each client, one call after another
	lanes    int           // of each client, one command after another
	commands time.Duration // between two of one lane: about what their effects take
	casts    time.Duration // between two of each client to each node
	timers   time.Duration // between two of each client
	furthest time.Duration // a timer may lie ahead
}

const perList = 100 // ids in one list of the sink, which each effect writes anew

// newLoad starts it.
func newLoad(g *ground, s size) *load {
	l := &load{g: g, size: s, stop: make(chan struct{}), accepted: map[string]string{}, lists: map[string]bool{}}
	for _, p := range g.processes {
		l.work.Go(func() { l.connect(p.role.Node, p.role.Serve) })
		l.work.Go(func() { l.keep(p.role.Node, p.role.Serve) })
	}
	targets := append(append(append([]string{}, voters...), workers...), clients...)
	for _, c := range g.clients {
		var turn atomic.Uint64
		for range s.callers {
			l.work.Go(func() { l.callAll(c, targets, &turn) })
		}
		for _, to := range targets {
			if to != c.Name() {
				l.work.Go(func() { l.cast(c, to) })
				l.work.Go(func() { l.watch(c, to) })
			}
		}
		for i := range s.lanes {
			l.work.Go(func() { l.command(c, i) })
		}
		l.work.Go(func() { l.timers(c) })
	}
	return l
}

func (l *load) over() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// pause waits, and says false when the load is over.
func (l *load) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.stop:
		return false
	}
}

// didNotHappen are the errors that say so: the other side refused, or nothing was sent.
var didNotHappen = []error{
	cluster.ErrUnknownNode, cluster.ErrUnknownLoop, cluster.ErrUnknownFunction, cluster.ErrDeadIncarnation, cluster.ErrStaleAddress,
	cluster.ErrBusy, cluster.ErrNoCredit, cluster.ErrFenced, durable.ErrFull,
}

// judge tells how an operation ended.
func judge(err error) (history.Step, string) {
	if err == nil {
		return history.OK, ""
	}
	for _, e := range didNotHappen {
		if errors.Is(err, e) {
			return history.Refused, err.Error()
		}
	}
	return history.Unknown, err.Error()
}

const callLimit = 5 * time.Second

func (l *load) callAll(c *cluster.Node, targets []string, turn *atomic.Uint64) {
	for !l.over() {
		n := turn.Add(1)
		to := targets[n%uint64(len(targets))]
		id := fmt.Sprintf("%s/%d", c.Name(), n)
		ref, err := c.Ref(to + "/" + address)
		if err != nil {
			l.pause(20 * time.Millisecond) // it is down
			continue
		}
		deadline := time.Now().Add(callLimit)
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		written.Add(history.Event{Op: history.Call, Step: history.Invoke, ID: id, To: to, Due: written.Now() + int64(callLimit)})
		got, err := echo.Via(c).Call(ctx, ref, id)
		cancel()
		step, text := judge(err)
		written.Add(history.Event{Op: history.Call, Step: step, ID: id, To: to, Err: text})
		if err == nil && got != id {
			l.fault("call %s was answered %q", id, got)
		}
		if err != nil {
			l.pause(20 * time.Millisecond)
		}
	}
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// cast sends numbers to one node.
func (l *load) cast(c *cluster.Node, to string) {
	in := numbered{Sender: c.Name() + ">" + to, To: to}
	for l.pause(l.size.casts) {
		ref, err := c.Ref(to + "/" + address)
		if err != nil {
			continue
		}
		in.N++
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err = note.Via(c).CallSoon(ctx, ref, in)
		cancel()
		step, text := judge(err)
		written.Add(history.Event{By: c.Name(), Op: history.Cast, Step: step, ID: in.Sender, To: to, N: in.N, Err: text})
	}
}

// lost writes down what a client was told of casts.
func lost(by string, l cluster.Loss) {
	to, _, _ := strings.Cut(l.Target, "/")
	written.Add(history.Event{By: by, Op: history.Cast, Step: history.Told, To: to, N: l.Count, Err: fmt.Sprint(l.Reason)})
}

// watch watches one node, anew after each end.
func (l *load) watch(c *cluster.Node, to string) {
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s>%s/%d", c.Name(), to, i)
		ended := make(chan struct{}, 1)
		ref, err := c.Ref(to + "/" + address)
		if err == nil {
			written.Add(history.Event{Op: history.Watch, Step: history.Invoke, ID: id, To: to})
			_, err = c.Watch(ref, func(e cluster.Terminated) {
				written.Add(history.Event{Op: history.Watch, Step: history.Told, ID: id, To: to, Err: e.Reason.Error()})
				select {
				case ended <- struct{}{}:
				default: // a second notice: the checker sees it
				}
			})
		}
		if err == nil {
			select {
			case <-ended:
			case <-l.stop:
				return
			}
		}
		if !l.pause(100 * time.Millisecond) {
			return
		}
	}
}

const (
	connectLimit = 2 * time.Second // for a connection, and for an answer over it
	connectRest  = 50 * time.Millisecond
)

// met writes down how something over a connection ended.
func met(op history.Op, to string, from int64, err error) {
	e := history.Event{Op: op, Step: history.OK, To: to, From: from}
	if err != nil {
		e.Step, e.Err = history.Unknown, err.Error()
	}
	written.Add(e)
}

// overAndBack sends a word over a connection, and waits for it.
func overAndBack(c net.Conn) error {
	const word = "over and back"
	if err := c.SetDeadline(time.Now().Add(connectLimit)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(word)); err != nil {
		return err
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != word {
		return fmt.Errorf("%q comes back", got)
	}
	return nil
}

// connect makes one connection to a node after another.
func (l *load) connect(node, at string) {
	for l.pause(connectRest) {
		from := written.Now()
		c, err := net.DialTimeout("tcp", at, connectLimit)
		if err == nil {
			err = overAndBack(c)
			_ = c.Close() // it has served
		}
		met(history.Connect, node, from, err)
	}
}

// keep uses one connection to a node for as long as it lasts, and then another one.
func (l *load) keep(node, at string) {
	for l.pause(connectRest) {
		c, err := net.DialTimeout("tcp", at, connectLimit)
		if err != nil {
			continue
		}
		// The first answer says that the node has it: the kernel takes connections for a program
		// that cannot.
		for first := true; l.pause(connectRest); first = false {
			from := written.Now()
			if err = overAndBack(c); !first {
				met(history.Kept, node, from, err)
			}
			if err != nil {
				break
			}
		}
		_ = c.Close()
	}
}

// want remembers which list has to hold an id in the end.
func (l *load) want(id, list string, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lists[list] = true
	if accepted {
		l.accepted[id] = list
	}
}

// command sends the commands of one lane. Every second one that ends without an answer
// is asked for again until it has one; the others stay unknown.
func (l *load) command(c *cluster.Node, lane int) {
	key := fmt.Sprintf("%s-lane-%d", c.Name(), lane)
	for i := 0; l.pause(l.size.commands); i++ {
		in := listed{ID: fmt.Sprintf("%s-%d", key, i), List: fmt.Sprintf("%s/%d", key, i/perList)}
		l.ask(history.Event{Op: history.Command, ID: in.ID, To: key}, in, i%2 == 0, func(ctx context.Context) error {
			return durable.Send(ctx, c, queue, in.ID, command, in, durable.Key(key), durable.Redeliver(1000))
		})
	}
}

// timers arms calls for later: spans, and each third one for a time of day.
func (l *load) timers(c *cluster.Node) {
	for i := 0; l.pause(l.size.timers); i++ {
		id := fmt.Sprintf("%s-timer-%d", c.Name(), i)
		in := listed{ID: id, List: id} // one list for several would make those that are due at one time wait for each other
		d := rand.N(l.size.furthest)
		now := time.Now()
		asked := history.Event{Op: history.Timer, ID: id, To: group, Wall: now.UnixNano(), Due: now.Add(d).UnixNano(), Span: int64(d)}
		if i%3 == 0 {
			asked.Span = 0
		}
		l.ask(asked, in, i%2 == 0, func(ctx context.Context) error {
			if asked.Span == 0 {
				return durable.CallAt(ctx, c, in.ID, timer, in, time.Unix(0, asked.Due), durable.Group(group), durable.Attempts(1000))
			}
			return durable.CallLater(ctx, c, in.ID, timer, in, d, durable.Group(group), durable.Attempts(1000))
		})
	}
}

// ask makes a durable request, again until it has an answer or only once.
func (l *load) ask(asked history.Event, in listed, again bool, request func(context.Context) error) {
	asked.Step = history.Invoke
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		written.Add(asked)
		err := request(ctx)
		cancel()
		step, text := judge(err)
		written.Add(history.Event{Op: asked.Op, Step: step, ID: in.ID, To: asked.To, Err: text})
		l.want(in.ID, in.List, step == history.OK)
		if step != history.Unknown || !again || !l.pause(50*time.Millisecond) {
			return
		}
	}
}

// drain ends the load, waits until what was accepted has had its effect, and writes down
// what the sink holds. An effect that does not come is the checkers' to find.
func (l *load) drain(limit time.Duration, names int) error {
	close(l.stop)
	l.work.Wait()
	for i := range names {
		l.lists[fmt.Sprintf("%sname-%d", history.NameList, i)] = true
	}
	// A machine that is busy with something else takes long for what has piled up; but it gets on.
	for least, begin := math.MaxInt, time.Now(); ; <-time.After(time.Second) {
		missing, err := l.missing()
		if err == nil && missing == 0 {
			break
		}
		if err == nil && missing < least {
			least, begin = missing, time.Now()
		}
		if time.Since(begin) > limit {
			l.fault("for %v none of %d accepted commands and timers without an effect has had one (%v)", limit, missing, err)
			break
		}
	}
	for _, c := range l.g.clients { // each cast is taken by its loop, or told of
		for begin := time.Now(); c.Stats().UnderWay > 0; <-time.After(100 * time.Millisecond) {
			if time.Since(begin) > limit/4 {
				l.fault("%d casts of %s are neither taken nor told of after %v", c.Stats().UnderWay, c.Name(), limit/4)
				break
			}
		}
	}
	_, err := l.read(true)
	return err
}

// missing counts the accepted ones whose effects the sink does not hold.
func (l *load) missing() (int, error) {
	have, err := l.read(false)
	n := 0
	for id := range l.accepted {
		if !have[id] {
			n++
		}
	}
	return n, err
}

// read reads all lists, and may write them down.
func (l *load) read(down bool) (map[string]bool, error) {
	sink, err := durable.NewSink(l.g.clients[0], sinkName)
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for list := range l.lists {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		ids, err := readList(ctx, sink, list)
		cancel()
		if err != nil {
			return nil, err
		}
		for i, id := range ids {
			have[id] = true
			if !down {
				continue
			}
			e := history.Event{Op: history.Effect, ID: id, To: list, N: uint64(i)}
			if strings.HasPrefix(list, history.NameList) {
				if _, err := fmt.Sscan(id, &e.N); err != nil {
					return nil, err
				}
			}
			written.Add(e)
		}
	}
	return have, nil
}
