package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/loopnode"
)

// How the nodes reach NATS. A cluster that is slow for no reason that its loops know is slow
// there: a server far away, a connection that comes and goes, a node that handles its
// messages more slowly than they come and loses them in the end.
//
// Each node asks its own server over each of its connections: what another node would measure
// is another way. A node without a connection cannot be asked, and stands in Partial.

// Why three lines for each node? The three connections are apart so that bytes of streams delay no
// call; so one of them can be behind while the others are well, and that is what tells who is
// slow: pending on bulk is a reader of streams or topics, pending on control the node itself.

// NATSLink is one connection of a node to NATS.
type NATSLink struct {
	// Node/link.
	ID   string `json:"id"`
	Node string `json:"node"`
	// Control (calls and answers), bulk (streams, topics) or notices.
	Link      string `json:"link"`
	Connected bool   `json:"connected"`
	// The address of the server; absent when it did not answer.
	Server string `json:"server,omitempty"`
	// To the server and back; absent when it did not answer.
	RTTUS *int64 `json:"rtt_us,omitempty"`
	// What has come and was not handled yet.
	PendingMessages int `json:"pending_messages"`
	PendingBytes    int `json:"pending_bytes"`
	// The subject with most of that.
	SlowestSubject string `json:"slowest_subject,omitempty"`
	// What waits for the socket.
	UnsentBytes int `json:"unsent_bytes"`
	// Messages that NATS has dropped, because they waited here for too long.
	Dropped     uint64 `json:"dropped"`
	MessagesIn  uint64 `json:"messages_in"`
	MessagesOut uint64 `json:"messages_out"`
	// Of all connections of the node, since its start.
	Disconnects uint64 `json:"disconnects"`
	Reconnects  uint64 `json:"reconnects"`
}

// natsLimit bounds the questions of one node to its server.
const natsLimit = time.Second

// askNATS tells how a node reaches NATS. It waits for the server, so it leaves its loop for
// that.
var askNATS = cluster.Func(internalPrefix+"nats", func(ctx context.Context, _ struct{}) ([]NATSLink, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return nil, cluster.ErrNoNode
	}
	all, err := loopnode.ToThread(ctx, func(ctx context.Context) ([]engine.Connection, error) {
		within, cancel := context.WithTimeout(ctx, natsLimit)
		defer cancel()
		return node.Inside(inside.Key{}).Connections(within), nil
	})
	stats := node.Stats()
	out := []NATSLink{}
	for _, c := range all {
		d := NATSLink{
			ID: node.Name() + "/" + string(c.Kind), Node: node.Name(), Link: string(c.Kind), Connected: c.Connected, Server: c.Server,
			PendingMessages: c.PendingMessages, PendingBytes: c.PendingBytes, SlowestSubject: c.Slowest, UnsentBytes: c.Unsent, Dropped: c.Dropped,
			MessagesIn: c.In, MessagesOut: c.Out, Disconnects: stats.Disconnects, Reconnects: stats.Reconnects,
		}
		if us := c.RTT.Microseconds(); c.RTT > 0 {
			d.RTTUS = &us
		}
		out = append(out, d)
	}
	return out, err
})

// natsList is the route of the connections to NATS.
func (s *Server) natsList(ctx context.Context, _ *http.Request) (any, error) {
	list, members := newList[NATSLink]("NATSLinkList"), s.node.Members()
	answers, errs := make([][]NATSLink, len(members)), make([]error, len(members))
	inParallel(len(members), func(i int) {
		answers[i], _, errs[i] = ask(ctx, s, askNATS, members[i].Name+"/"+LoopName, struct{}{})
	})
	for i, m := range members {
		if errs[i] != nil {
			list.missing(m.Name, errs[i])
		}
		list.Items = append(list.Items, answers[i]...)
	}
	return list, nil
}

// NATS lists how the nodes reach NATS.
func (c *Client) NATS(ctx context.Context) (*List[NATSLink], error) {
	return get[List[NATSLink]](ctx, c, "nats")
}
