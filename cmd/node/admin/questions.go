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

// LoopName is the loop on which a node answers for itself. Every other loop is
// asked on its own, so that a stuck one holds nobody up.
const LoopName = "admin"

// internalPrefix marks the functions of this API.
const internalPrefix = "loopmesh."

// maxListed bounds the connections one loop tells of: an answer has to fit into
// a message.
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

// listed describes connections by their ids, oldest first.
func listed(node *cluster.Node, all []transportactors.Transport) []Conn {
	out := make([]Conn, 0, len(all))
	for _, t := range all {
		out = append(out, Conn{
			ID: node.Name() + "/" + t.Ref().Address().Path, Node: node.Name(), Loop: t.Loop().Name(),
			Peer: text(t.ExtraInfo("peername")), Local: text(t.ExtraInfo("sockname")), Protocol: fmt.Sprintf("%T", t.Protocol()),
			WriteBuffer: t.WriteBufferSize(), Reading: t.IsReading(), Closing: t.IsClosing(),
		})
	}
	slices.SortFunc(out, func(a, b Conn) int { return byNumber(a.ID, b.ID) })
	return out[:min(len(out), maxListed)]
}

// byNumber orders ids that differ in the number at their end.
func byNumber(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

func text(info any) string {
	if a, ok := info.(net.Addr); ok {
		return a.String()
	}
	return ""
}
