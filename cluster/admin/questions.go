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
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
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
	Host      string                 `json:"host"`
	PID       int                    `json:"pid"`
	Started   time.Time              `json:"started"`
	Version   string                 `json:"version"`
	Go        string                 `json:"go"`
	URL       string                 `json:"url"`
	Loops     []string               `json:"loops"`
	Functions []cluster.FunctionInfo `json:"functions"`
	Stats     cluster.Stats          `json:"stats"`
}

// askNode tells about a node; it is called on the loop LoopName.
var askNode = cluster.Func(internalPrefix+"node", func(ctx context.Context, _ struct{}) (nodeReport, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return nodeReport{}, cluster.ErrNoNode
	}
	r := nodeReport{PID: os.Getpid(), URL: node.URL(), Loops: node.Loops(), Functions: cluster.Functions(), Stats: node.Stats()}
	r.Version, r.Go = Version()
	r.Host, _ = os.Hostname() // a machine without a name has an empty one
	if s, ok := servers.Load(node); ok {
		r.Started = s.(*Server).started
	}
	return r, nil
})

// loopQuestion says what of a loop is wanted.
type loopQuestion struct {
	Conns bool `json:"conns"` // list them; they are counted anyway
}

// loopReport is what a loop tells of itself.
type loopReport struct {
	Tasks   int      `json:"tasks"`
	Conns   int      `json:"conns"`
	Servers []string `json:"servers"`
	Listed  []Conn   `json:"listed,omitempty"`
}

// askLoop tells about the loop that it runs on. Its own task is not counted.
var askLoop = cluster.Func(internalPrefix+"loop", func(ctx context.Context, q loopQuestion) (loopReport, error) {
	l, err := loopnode.Running(ctx)
	if err != nil {
		return loopReport{}, err
	}
	all := transportactors.Transports(l)
	r := loopReport{Tasks: len(loopnode.AllTasks(l)) - 1, Conns: len(all), Servers: listening(l)} // not the task that counts
	if q.Conns {
		node, _ := cluster.NodeOf(ctx)
		r.Listed = listed(node, all)
	}
	return r, nil
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
