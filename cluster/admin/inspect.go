package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/process"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

// What a loop tells of what lives on it, in a turn of its own: its tasks, its servers,
// its child processes, and how busy it is. Ids are addresses: NODE/LOOP/tasks/7 is the
// seventh task of that loop, for as long as the loop lives.
//
// What does looking cost the one that is looked at? A turn of its own for the question;
// for each task that waits, a switch to it and back, since only a goroutine can name its
// own calls; while it is measured, two looks at the clock a turn. Nothing of it is left
// when the answer is sent. A loop with very many tasks tells of the oldest maxListed: the
// bound is on the time that its own work waits, as much as on the size of the answer.

// Folders of ids below a loop; connections have "transports", which is the address of
// their actor.
const (
	taskFolder   = "tasks"
	serverFolder = "servers"
	procFolder   = "procs"
)

// idOf is the id of something on a loop.
func idOf(node *cluster.Node, l *loopnode.Loop, folder string, number uint64) string {
	return node.Name() + "/" + l.Name() + "/" + folder + "/" + strconv.FormatUint(number, 10)
}

// tasksOn describes the tasks of a loop, oldest first, at most maxListed, without the
// one that asks.
func tasksOn(node *cluster.Node, l *loopnode.Loop, frames int) []Task {
	all := loopaccess.Of(l).TaskInfos(maxListed, frames)
	out := make([]Task, 0, len(all))
	for _, t := range all {
		d := Task{
			ID: idOf(node, l, taskFolder, t.ID), Node: node.Name(), Loop: l.Name(), Name: t.Name, State: t.State, Waits: t.Waits,
			AwaitedBy: []string{}, Circle: t.Circle, Stack: t.Stack,
		}
		if t.Known {
			us := t.For.Microseconds()
			d.WaitsUS = &us
		}
		if t.Parent != 0 {
			d.Parent = idOf(node, l, taskFolder, t.Parent)
		}
		for _, by := range t.AwaitedBy {
			d.AwaitedBy = append(d.AwaitedBy, idOf(node, l, taskFolder, by))
		}
		out = append(out, d)
	}
	return out
}

// serversOn describes the servers of a loop, oldest first.
func serversOn(node *cluster.Node, l *loopnode.Loop) []Listener {
	all := transportactors.Servers(l)
	slices.SortFunc(all, func(a, b *transportactors.Server) int { return cmp.Compare(a.Number(), b.Number()) })
	out := make([]Listener, 0, len(all))
	for _, s := range all {
		d := Listener{
			ID: idOf(node, l, serverFolder, s.Number()), Node: node.Name(), Loop: l.Name(), Addresses: []string{},
			Serving: s.IsServing(), Failed: s.Failed(),
		}
		for _, a := range s.Addrs() {
			d.Addresses = append(d.Addresses, a.String())
		}
		out = append(out, d)
	}
	return out
}

// childrenOn describes the child processes of a loop by their PIDs. What they were
// started with may be secret only in its environment, which is not told.
func childrenOn(node *cluster.Node, l *loopnode.Loop, all []subprocess.Transport) []Child {
	out := make([]Child, 0, len(all))
	for _, t := range all {
		info, _ := t.ExtraInfo("subprocess").(subprocess.Info)
		_, ended := t.Returncode()
		out = append(out, Child{
			ID: idOf(node, l, procFolder, uint64(t.PID())), Node: node.Name(), Loop: l.Name(), PID: t.PID(),
			Args: info.Args, Dir: info.Dir, Ended: ended, Closing: t.IsClosing(),
		})
	}
	slices.SortFunc(out, func(a, b Child) int { return a.PID - b.PID })
	return out[:min(len(out), maxListed)]
}

// withProfiles completes the children of the loop that package process has: by which profile
// each was started, and who has it. Those that have ended and are kept are no children of the
// system any more, and come last.
func withProfiles(ctx context.Context, node *cluster.Node, l *loopnode.Loop, out []Child) []Child {
	if l.Name() != process.LoopName {
		return out
	}
	all, err := process.Children(ctx)
	if err != nil {
		return out // a loop of the program's that has this name
	}
	at := map[int]int{}
	for i, c := range out {
		at[c.PID] = i
	}
	for _, c := range all {
		i, there := at[c.PID]
		switch {
		case there && out[i].Ended == c.Ended && out[i].Process == "":
			out[i].Process, out[i].Owner, out[i].Keep = c.ID, c.Owner, c.Keep
		case c.Ended && c.Keep:
			out = append(out, Child{ID: c.ID, Node: node.Name(), Loop: l.Name(), PID: c.PID, Args: []string{}, Ended: true, Process: c.ID, Owner: c.Owner, Keep: true})
		}
	}
	return out[:min(len(out), maxListed)]
}

// lagStep is how often the lag is looked at while a loop is measured.
const lagStep = 5 * time.Millisecond

// measure lets the loop count its turns for a while and watches, from a task of the
// loop, how late that task's own timers are: lag is what everything else that is sent
// to the loop waits, too. The loop takes the meter off by itself should this task end
// early.
func measure(ctx context.Context, l *loopnode.Loop, d time.Duration) (*Measured, error) {
	from := l.Time()
	m := &loopaccess.Meter{Until: time.Duration(from.Add(d))}
	loopaccess.Of(l).Measure(m)
	var lags []time.Duration
	for l.Time().Sub(from) < d {
		asked := l.Time()
		if err := loopnode.Sleep(ctx, min(lagStep, d)); err != nil {
			return nil, err
		}
		lags = append(lags, max(l.Time().Sub(asked)-min(lagStep, d), 0))
	}
	took := l.Time().Sub(from)
	slices.Sort(lags)
	at := func(share float64) int64 { return lags[int(share*float64(len(lags)-1))].Microseconds() }
	out := &Measured{
		ForUS: took.Microseconds(), Turns: m.Turns.Load(), Callbacks: m.Callbacks.Load(), Busy: min(float64(m.Busy.Load())/float64(took), 1),
		LongestUS: m.Longest.Load() / 1000, LagP50US: at(0.5), LagP99US: at(0.99), LagMaxUS: at(1), TurnsByTime: []Bucket{},
	}
	for i, n := range m.Batches.Counts() {
		if n > 0 {
			out.TurnsByTime = append(out.TurnsByTime, Bucket{1 << i, n})
		}
	}
	return out, nil
}

// askActors tells about the actors of a node that have an address; it is called on the
// loop LoopName and asks no other loop.
var askActors = cluster.Func(internalPrefix+"actors", func(ctx context.Context, _ struct{}) ([]Actor, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return nil, cluster.ErrNoNode
	}
	out := []Actor{}
	for _, a := range node.Actors().Actors() {
		out = append(out, Actor{
			ID: fmt.Sprintf("%s/%s", node.Name(), a.Ref.Address().Path), Node: node.Name(), Loop: a.Loop, Queued: a.Queued, Limit: a.Limit,
			Asks: a.Asks, RestartDue: a.RestartDue,
		})
	}
	slices.SortFunc(out, func(a, b Actor) int { return byNumber(a.ID, b.ID) })
	return out[:min(len(out), maxListed)], nil
})
