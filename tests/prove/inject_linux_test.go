package prove

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// injector does what a plan says.
type injector struct {
	g *ground
}

// possible says which kinds of faults can be injected here, and why the others cannot.
func (g *ground) possible() (map[history.Kind]bool, string) {
	can := map[history.Kind]bool{}
	for _, d := range deck {
		can[d.kind] = true
	}
	var without []string
	if g.net == nil {
		can[history.Cut] = false
		without = append(without, fmt.Sprintf("no partition: %v", g.without))
	}
	if stepWall == nil {
		can[history.Clock] = false
		without = append(without, "no wall clock: this program is built without the overlay of tests/prove/wallclock")
	}
	return can, strings.Join(without, "; ")
}

func began(kind history.Kind, nodes ...string) {
	for _, n := range nodes {
		written.Add(history.Event{Op: history.Fault, Step: history.Began, Err: string(kind), To: n})
	}
}

func ended(kind history.Kind, nodes ...string) {
	for _, n := range nodes {
		written.Add(history.Event{Op: history.Fault, Step: history.Ended, Err: string(kind), To: n})
	}
}

// inject brings one fault about and takes it back.
func (in injector) inject(f fault) error {
	switch f.kind {
	case history.All:
		return in.everyNode(f)
	case history.Leader:
		return in.leader(f)
	case history.Clock:
		return in.clock(f)
	}
	i, p := in.g.process(f.victim)
	var guests []string
	if f.kind == history.Stop || f.kind == history.Cut {
		guests = in.guests(p)
		began(history.Server, guests...)
	}
	began(f.kind, f.victim)
	var err error
	switch f.kind {
	case history.Kill:
		p.kill()
		<-time.After(f.lasts)
		err = p.start(startLimit)
	case history.Pause, history.Stop:
		if err = p.signal(syscall.SIGSTOP); err == nil {
			<-time.After(f.lasts)
			err = p.signal(syscall.SIGCONT)
		}
	case history.Cut:
		if err = in.g.net.cut(i, true); err == nil {
			<-time.After(f.lasts)
			err = in.g.net.cut(i, false)
		}
	case history.Twin:
		err = in.twin(p)
	case history.Slow:
		err = in.stall(f)
	case history.Files:
		err = starve(p, f.lasts)
	case history.Restart:
		err = restart(p)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", f, err)
	}
	ended(f.kind, f.victim)
	ended(history.Server, guests...)
	return nil
}

// guests are the nodes that are clients of a voter now: while it stands still they are
// not heard of, until they have moved to another one.
func (in injector) guests(p *process) (list []string) {
	if !p.role.Voter {
		return nil
	}
	for _, name := range append(append([]string{}, workers...), clients...) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		ref, err := in.g.clients[0].Ref(name + "/" + address)
		var at string
		if err == nil {
			at, err = server.Via(in.g.clients[0]).Call(ctx, ref, struct{}{})
		}
		cancel()
		if err == nil && strings.HasSuffix(at, p.role.Listen) {
			list = append(list, name)
		}
	}
	return list
}

// leader kills the voter that leads when its time has come, and starts it again.
func (in injector) leader(f fault) error {
	who, err := in.g.leader()
	for begin := time.Now(); err != nil && time.Since(begin) < startLimit; who, err = in.g.leader() {
		<-time.After(100 * time.Millisecond) // there is none yet
	}
	if err != nil {
		return err
	}
	_, p := in.g.process(who)
	began(f.kind, who)
	p.kill()
	<-time.After(f.lasts)
	if err := p.start(startLimit); err != nil {
		return err
	}
	ended(f.kind, who)
	return nil
}

// clock sets the wall clock of a node, and sets it right again: of the one that runs the calls
// for later, because a step while no timer runs on a node would show nothing, or, with
// -leading, of the one whose server leads, which removes records whose time is over.
func (in injector) clock(f fault) error {
	c := in.g.clients[0]
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	find := func() (string, error) {
		if *leading {
			return in.g.leaderOf("LOOPS")
		}
		owner, err := names.Resolve(ctx, c, "timers/"+group)
		return owner.Node, err
	}
	if *leading { // long enough for the server to look whose time is over
		f.lasts += 7 * time.Second
	}
	node, err := find()
	for ; err != nil && ctx.Err() == nil; node, err = find() {
		<-time.After(100 * time.Millisecond) // there is none yet
	}
	if err != nil {
		return err
	}
	written.Add(history.Event{Op: history.Fault, Step: history.Began, Err: string(f.kind), To: node, Wall: int64(f.by)})
	if err := setClock(ctx, c, node, f.by); err != nil {
		return err
	}
	<-time.After(f.lasts)
	if err := setClock(ctx, c, node, 0); err != nil {
		return err
	}
	ended(f.kind, node)
	return nil
}

// setClock sets the wall clock of a node so far ahead. It is told again until the node says
// that it has: a request may get lost.
func setClock(ctx context.Context, c *cluster.Node, node string, ahead time.Duration) error {
	for {
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		ref, err := c.Ref(node + "/" + address)
		if err == nil {
			_, err = wallclock.Via(c).Call(limited, ref, ahead)
		}
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		<-time.After(50 * time.Millisecond)
	}
}

// everyNode kills all processes, as a machine room without power does, and starts them
// again.
func (in injector) everyNode(f fault) error {
	var all []string
	for _, p := range in.g.processes {
		all = append(all, p.role.Node)
	}
	began(f.kind, all...)
	for _, p := range in.g.processes {
		if err := p.signal(syscall.SIGKILL); err != nil {
			return err
		}
	}
	for _, p := range in.g.processes {
		p.kill()
	}
	<-time.After(f.lasts)
	in.g.startAll(in.g.processes)
	ended(f.kind, all...)
	return nil
}

// twin stops a process, starts another one under its name when the others have given it
// up, and lets it go on: it has to find out and end.
func (in injector) twin(p *process) error {
	old := p.alive()
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	begin := time.Now()
	for in.knows(p.role.Node) {
		if <-time.After(50 * time.Millisecond); time.Since(begin) > startLimit {
			return fmt.Errorf("%s is stopped and not given up after %v", p.role.Node, startLimit)
		}
	}
	if err := p.start(startLimit); err != nil {
		return err
	}
	if err := old.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := old.ended(15 * time.Second); err != nil {
		_ = old.cmd.Process.Kill()
		<-old.exited
		return fmt.Errorf("the replaced twin goes on: %w", err)
	}
	return nil
}

func (in injector) knows(name string) bool {
	for _, m := range in.g.clients[0].Members() {
		if m.Name == name {
			return true
		}
	}
	return false
}

// stall holds the victim's loop up.
func (in injector) stall(f fault) error {
	c := in.g.clients[0]
	ref, err := c.Ref(f.victim + "/" + address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := stall.Via(c).CallSoon(ctx, ref, f.lasts); err != nil {
		return err
	}
	<-time.After(f.lasts)
	return nil
}

// starve takes the free descriptors from a process for a while: it may open no file, no
// socket and no child. It has to live on.
func starve(p *process, d time.Duration) error {
	l := p.alive()
	pid := l.cmd.Process.Pid
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return err
	}
	free := uint64(0) // the lowest number that the system would give out
	for {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, free)); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
		free++
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: free, Max: before.Max}, nil); err != nil {
		return err
	}
	<-time.After(d)
	select {
	case <-l.exited:
		return fmt.Errorf("without descriptors %s ended: %v: %s", p.role.Node, l.cmd.ProcessState, last(l.errs.String()))
	default:
	}
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil)
}

// restart ends a process as its operator does, and starts it again.
func restart(p *process) error {
	l := p.alive()
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := l.ended(20 * time.Second); err != nil {
		return err
	}
	return p.start(startLimit)
}
