package actors

import (
	"fmt"
	"strconv"
	"strings"

	pa "github.com/asynkron/protoactor-go/actor"
)

// Route carries a message to another node. It must not block. A sender with an
// empty Node is of this process: System.Export makes it an address for others.
// Besides users' messages it carries WatchRequest, UnwatchRequest, StopRequest,
// Refusal and Terminated.
type Route func(to Address, msg any, sender Ref) error

// RouteRemote says how messages leave for other nodes; nil takes it back. Any
// goroutine, at any time.
func (s *System) RouteRemote(r Route) {
	if r == nil {
		s.router.Store(nil)
		return
	}
	s.router.Store(&r)
}

// Identify tells the system its own name among nodes, so that addresses with
// that name and incarnation (or none) are of this process. An empty name takes
// it back: the system has left its node.
func (s *System) Identify(node string, incarnation uint64) {
	s.identity.Store(&Address{Node: node, Incarnation: incarnation})
}

// Identity is what Identify said; false when the system is on no node.
func (s *System) Identity() (node string, incarnation uint64, ok bool) {
	me := s.identity.Load()
	if me == nil || me.Node == "" {
		return "", 0, false
	}
	return me.Node, me.Incarnation, true
}

// Export is the address under which other nodes know r. A ref of another node
// keeps its address. Without Identify nothing is added.
func (s *System) Export(r Ref) Address {
	a := r.Address()
	if me := s.identity.Load(); me != nil && a.Node == "" && a.Path != "" {
		a.Node, a.Incarnation = me.Node, me.Incarnation
	}
	return a
}

func (s *System) isHere(a Address) bool {
	if a.Node == "" {
		return true
	}
	me := s.identity.Load()
	return me != nil && me.Node == a.Node && (a.Incarnation == 0 || a.Incarnation == me.Incarnation)
}

// Deliver hands a message from another node to the actor at an address here. It
// does not wait. Errors: ErrUnknown, ErrNoRoute for an address of another node
// or another life of this one, ErrMailboxFull, or the reason of the actor's end.
// An Ask elsewhere gets the error as its answer, too. A WatchRequest
// for nobody is answered with Terminated, not with an error.
func (s *System) Deliver(to Address, msg any, sender Ref) error {
	if !s.isHere(to) {
		return fmt.Errorf("%w: %s is not of this node", ErrNoRoute, to)
	}
	r := RefOf(Address{Path: to.Path})
	switch m := msg.(type) {
	case WatchRequest:
		s.watch(watchKey{farWatcher{s, sender}, r}, Ref{})
		return nil
	case UnwatchRequest:
		s.unwatch(watchKey{farWatcher{s, sender}, r}, Ref{})
		return nil
	case StopRequest:
		s.Stop(r)
		return nil
	case Terminated:
		return s.deliverEnd(r, m)
	}
	if c, _ := s.find(r); c != nil && c.UserMessageCount() >= s.opts.RemoteLimit {
		err := fmt.Errorf("%w: %s has %d messages waiting", ErrMailboxFull, r, s.opts.RemoteLimit)
		s.deadLetter(r, envelope{msg, s.asker(sender)}, err)
		return err
	}
	return s.send(r, envelope{msg, s.asker(sender)})
}

// deliverEnd brings the end of an actor elsewhere to its watcher here.
func (s *System) deliverEnd(to Ref, t Terminated) error {
	switch w := s.localAt(to.Address().Path).(type) {
	case *cell:
		w.ended(t)
	case *callbackWatcher:
		w.ended(Terminated{Who: w.as, Reason: t.Reason})
	default:
		return fmt.Errorf("%w: %s, which watched %s", ErrUnknown, to, t.Who)
	}
	return nil
}

// NodeDown tells every watcher of an actor on that node, once, with ErrNodeDown.
// Incarnation zero means every life of the node. It does not wait.
func (s *System) NodeDown(node string, incarnation uint64) {
	s.mu.Lock()
	var cells []*cell
	for _, h := range s.hosts {
		for c := range h.cells {
			cells = append(cells, c)
		}
	}
	var watches []*callbackWatcher
	for _, t := range s.tagged {
		if w, ok := t.(*callbackWatcher); ok && w.as.at == nil && onNode(w.as.far.Value(), node, incarnation) {
			watches = append(watches, w)
		}
	}
	s.mu.Unlock()
	for _, c := range cells {
		c.postSystem(&nodeNote{node, incarnation})
	}
	for _, w := range watches {
		w.ended(Terminated{Who: w.as, Reason: ErrNodeDown})
	}
}

// onNode reports whether an address is of that life of that node; one without an
// incarnation means whichever life there is.
func onNode(a Address, node string, incarnation uint64) bool {
	return a.Node == node && (incarnation == 0 || a.Incarnation == 0 || a.Incarnation == incarnation)
}

// route sends to another node, through protoactor's registry: what it resolves
// for an address elsewhere is our carrier.
func (s *System) route(a Address, env envelope) error {
	host, _, _ := strings.Cut(a.String(), "/")
	process, ok := s.core().ProcessRegistry.Get(pa.NewPID(host, a.Path))
	if c, is := process.(*carrier); ok && is {
		return c.carry(a, env)
	}
	return fmt.Errorf("%w: %s", ErrNoRoute, a)
}

// resolve is protoactor's question who takes messages for a PID elsewhere. A PID
// remembers the answer for ever, so it is one stateless carrier for all.
func (s *System) resolve(*pa.PID) (pa.Process, bool) { return &carrier{s}, true }

// carrier is the process behind every PID of another node.
type carrier struct{ sys *System }

func (c *carrier) carry(to Address, env envelope) error {
	r := c.sys.router.Load()
	if r == nil {
		return fmt.Errorf("%w: %s: no node was started in this process", ErrNoRoute, to)
	}
	return (*r)(to, env.msg, env.sender)
}

func (c *carrier) post(pid *pa.PID, m any) {
	_, msg, _ := pa.UnwrapEnvelope(m)
	to := pidAddress(pid)
	if err := c.carry(to, envelope{msg: msg}); err != nil {
		c.sys.deadLetter(RefOf(to), envelope{msg: msg}, err)
	}
}

func pidAddress(pid *pa.PID) Address {
	node, life, _ := strings.Cut(pid.GetAddress(), "@")
	n, _ := strconv.ParseUint(life, 10, 64) // no incarnation is zero
	return Address{Node: node, Incarnation: n, Path: pid.GetId()}
}

// SendUserMessage carries what protoactor itself sends to a PID elsewhere.
func (c *carrier) SendUserMessage(pid *pa.PID, m interface{}) { c.post(pid, m) }

// SendSystemMessage refuses: protoactor's life cycle does not cross nodes.
func (c *carrier) SendSystemMessage(pid *pa.PID, m interface{}) {
	c.sys.deadLetter(RefOf(pidAddress(pid)), envelope{msg: m}, ErrNoRoute)
}

// Stop asks the actor elsewhere to end.
func (c *carrier) Stop(pid *pa.PID) { c.post(pid, StopRequest{}) }
