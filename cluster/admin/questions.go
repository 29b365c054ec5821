package admin

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/drain"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

// What nodes ask each other: two registered functions and their answers. They run on
// the loops they tell about, as every call does; that makes their answers true
// (nothing else runs on the loop meanwhile) and shows a stuck loop by its silence.
// Fields of the reports are added and never changed, since nodes of two versions ask
// each other during an upgrade.

// LoopName is the loop on which a node answers for itself. Every other loop is
// asked on its own, so that a stuck one holds nobody up.
const LoopName = "admin"

// internalPrefix marks the functions of this API, so that lists of a program's
// functions can leave them out.
const internalPrefix = "loopmesh."

// maxListed bounds the connections that one loop tells of: an answer has to fit into
// a message (Config.MaxPayload, 1 MiB by default), and a connection takes a few
// hundred bytes of it.
const maxListed = 2000

// nodeReport is what a node tells of itself.
type nodeReport struct {
	Host      string         `json:"host"`
	PID       int            `json:"pid"`
	Started   time.Time      `json:"started"`
	Version   string         `json:"version"`
	Go        string         `json:"go"`
	URL       string         `json:"url"`
	Loops     []string       `json:"loops"`
	Functions []functionInfo `json:"functions"`
	Stats     cluster.Stats  `json:"stats"`
	// Loops.
	Blocked map[string]blocked `json:"blocked,omitempty"`
	// It was told to leave.
	Draining bool `json:"draining,omitempty"`
}

// functionInfo is a registered function for people.
type functionInfo struct {
	Name string `json:"name"`
	In   string `json:"in"`  // Go type of the argument
	Out  string `json:"out"` // Go type of the result
}

// registeredFunctions are those of this program, by name.
func registeredFunctions() (out []functionInfo) {
	for _, e := range registry.Functions() {
		out = append(out, functionInfo{Name: e.Name, In: e.In, Out: e.Out})
	}
	return out
}

// askNode tells about a node; it is called on the loop LoopName.
var askNode = cluster.Func(internalPrefix+"node", func(ctx context.Context, _ struct{}) (nodeReport, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return nodeReport{}, cluster.ErrNoNode
	}
	r := nodeReport{PID: os.Getpid(), URL: node.URL(), Loops: node.Loops(), Functions: registeredFunctions(), Stats: node.Stats()}
	r.Version, r.Go = Version()
	r.Host, _ = os.Hostname() // a machine without a name has an empty one
	if s, ok := servers.Load(node); ok {
		r.Started = s.(*Server).started
		r.Blocked = s.(*Server).watch.blockedLoops()
		r.Draining = s.(*Server).notice.leaving() || len(drain.Status(node)) > 0 // ordered, or by its process
	}
	return r, nil
})

// loopQuestion says what of a loop is wanted.
type loopQuestion struct {
	// List them; they are counted anyway.
	Conns bool `json:"conns"`
	// List them, with stacks of so many calls; they are counted anyway.
	Tasks int `json:"tasks"`
	// List them with their details.
	Servers bool `json:"servers"`
	// List them; they are counted anyway.
	Children bool `json:"children"`
	// Measure the loop for so long.
	MeasureMS int `json:"measure_ms"`
}

// loopReport is what a loop tells of itself.
type loopReport struct {
	Tasks    int        `json:"tasks"`
	Conns    int        `json:"conns"`
	Servers  []string   `json:"servers"`
	Listed   []Conn     `json:"listed,omitempty"`
	Queue    int        `json:"queue"`
	Timers   int        `json:"timers"`
	Watched  int        `json:"watched"`
	Children int        `json:"children"`
	Paused   int        `json:"paused"`
	Unsent   int        `json:"unsent"`
	TaskList []Task     `json:"task_list,omitempty"`
	Serving  []Listener `json:"serving,omitempty"`
	Procs    []Child    `json:"procs,omitempty"`
	Measured *Measured  `json:"measured,omitempty"`
}

// askLoop tells about the loop that it runs on. Its own task is not counted.
var askLoop = cluster.Func(internalPrefix+"loop", func(ctx context.Context, q loopQuestion) (loopReport, error) {
	l, err := loopnode.Running(ctx)
	if err != nil {
		return loopReport{}, err
	}
	node, _ := cluster.NodeOf(ctx)
	all, load, held, procs := transportactors.Transports(l), loopaccess.Of(l).Load(), transportactors.StatsOf(l), subprocess.Transports(l)
	r := loopReport{
		Tasks: load.Tasks - 1, Conns: len(all), Servers: listening(l), // not the task that counts
		Queue: load.Ready, Timers: load.Timers, Watched: load.Watched, Children: len(procs), Paused: held.Paused, Unsent: held.Output,
	}
	if q.Conns {
		r.Listed = listed(node, all)
	}
	if q.Tasks > 0 {
		r.TaskList = tasksOn(node, l, q.Tasks)
	}
	if q.Servers {
		r.Serving = serversOn(node, l)
	}
	if q.Children {
		r.Procs = withProfiles(ctx, node, l, childrenOn(node, l, procs))
	}
	if q.MeasureMS > 0 {
		r.Measured, err = measure(ctx, l, time.Duration(q.MeasureMS)*time.Millisecond)
	}
	return r, err
})

// listening are the addresses of the servers on a loop, sorted.
func listening(l *loopnode.Loop) []string {
	out := []string{}
	for _, s := range transportactors.Servers(l) {
		for _, a := range s.Addrs() {
			out = append(out, a.String())
		}
	}
	slices.Sort(out)
	return out
}

// listed describes connections by their ids, oldest first, at most maxListed: the
// numbers of transports count up, so the order of numbers is that of age.
func listed(node *cluster.Node, all []transportactors.Transport) []Conn {
	out := make([]Conn, 0, len(all))
	for _, t := range all {
		out = append(out, Conn{
			ID: node.Name() + "/" + t.Ref().Address().Path, Node: node.Name(), Loop: t.Loop().Name(),
			Peer: addressText(t.ExtraInfo("peername")), Local: addressText(t.ExtraInfo("sockname")), Protocol: fmt.Sprintf("%T", t.Protocol()),
			WriteBuffer: t.WriteBufferSize(), Reading: t.IsReading(), Closing: t.IsClosing(),
		})
		c := &out[len(out)-1]
		c.High, c.Low = t.WriteBufferLimits()
		c.Paused, _ = t.ExtraInfo("paused").(string)
		c.BytesIn, _ = t.ExtraInfo("bytes_read").(uint64)
		c.BytesOut, _ = t.ExtraInfo("bytes_written").(uint64)
		if cipher, ok := t.ExtraInfo("cipher").(transportactors.Cipher); ok {
			c.TLS = cipher.Protocol + " " + cipher.Name
		}
	}
	slices.SortFunc(out, func(a, b Conn) int { return byNumber(a.ID, b.ID) })
	return out[:min(len(out), maxListed)]
}

// byNumber orders ids that differ in the number at their end: 9 before 10, which the
// order of texts would turn round.
func byNumber(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// addressText is "" for what is no address: a pipe has no peer.
func addressText(info any) string {
	if a, ok := info.(net.Addr); ok {
		return a.String()
	}
	return ""
}
