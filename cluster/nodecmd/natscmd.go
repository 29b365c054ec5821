package nodecmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The commands about NATS: how each node reaches its server, and who keeps the store. They
// need no account at the server and no other tool: a node tells what it sees itself.

// What to look at first? DROPPED that grows is a node that lost messages; PENDING that stays is
// one that is about to. An RTT of one node alone is its network or its machine; of all of them
// it is the server. A stream without a leader has no majority of its servers.

// newNATS groups them.
func newNATS() *cobra.Command {
	return group("nats", "show how the nodes reach NATS, and the streams of the store", listing[admin.NATSLink]{
		use: "status", short: "list the connections of all nodes to NATS",
		long: "Lists the three connections of each node to NATS: control carries calls and answers, bulk streams and topics, notices what servers\n" +
			"say of those that go. RTT is to the server and back. PENDING is what has come and was not handled yet; when it stays, the node is\n" +
			"too slow, and in the end NATS drops messages (DROPPED, event LM7104). RECONNECTS is of all connections of the node.",
		example: "  loopmesh nats status\n  loopmesh nats status --sort -rtt_us\n  loopmesh nats status --filter 'dropped>0' -o wide",
		ask:     func(ctx context.Context, c *admin.Client) (*admin.List[admin.NATSLink], error) { return c.NATS(ctx) },
		columns: natsColumns(),
	}.command(), listing[admin.Stream]{
		use: "streams", short: "list the streams of the store, who leads them and who follows",
		long: "Lists the streams in which names, calls for later and commands lie. Without a leader nothing durable is written; a follower that\n" +
			"is behind or gone is one loss less that the store survives. A cluster without --store has none: exit code 8.",
		example: "  loopmesh nats streams\n  loopmesh nats streams -o wide",
		ask:     func(ctx context.Context, c *admin.Client) (*admin.List[admin.Stream], error) { return c.Streams(ctx) },
		columns: streamColumns(),
	}.command())
}

// natsColumns are how a connection to NATS is shown.
func natsColumns() []column[admin.NATSLink] {
	type link = admin.NATSLink
	return []column[link]{
		{"LINK", func(l link) string { return l.ID }},
		{"STATE", func(l link) string {
			if l.Connected {
				return "connected"
			}
			return "lost"
		}},
		{"SERVER", func(l link) string { return l.Server }},
		{"RTT", func(l link) string {
			if l.RTTUS == nil {
				return ""
			}
			return micros(*l.RTTUS)
		}},
		{"PENDING", func(l link) string { return fmt.Sprint(l.PendingMessages) }},
		{"UNSENT", func(l link) string { return byteSize(uint64(l.UnsentBytes)) }},
		{"DROPPED", func(l link) string { return fmt.Sprint(l.Dropped) }},
		{"RECONNECTS", func(l link) string { return fmt.Sprint(l.Reconnects) }},
		wide[link](),
		{"SLOWEST", func(l link) string { return l.SlowestSubject }},
		{"PENDING BYTES", func(l link) string { return byteSize(uint64(l.PendingBytes)) }},
		{"IN", func(l link) string { return fmt.Sprint(l.MessagesIn) }},
		{"OUT", func(l link) string { return fmt.Sprint(l.MessagesOut) }},
		{"DISCONNECTS", func(l link) string { return fmt.Sprint(l.Disconnects) }},
	}
}

// streamColumns are how a stream of the store is shown.
func streamColumns() []column[admin.Stream] {
	return []column[admin.Stream]{
		{"STREAM", func(s admin.Stream) string { return s.ID }},
		{"LEADER", func(s admin.Stream) string { return s.Leader }},
		{"COPIES", func(s admin.Stream) string { return fmt.Sprint(s.Copies) }},
		{"MESSAGES", func(s admin.Stream) string { return fmt.Sprint(s.Messages) }},
		{"SIZE", func(s admin.Stream) string { return byteSize(s.Bytes) }},
		{"FOLLOWERS", func(s admin.Stream) string {
			var all []string
			for _, f := range s.Followers {
				all = append(all, f.Server+followerNote(f))
			}
			return strings.Join(all, " ")
		}},
	}
}

// followerNote says what is wrong with a copy, "" when nothing is.
func followerNote(f admin.Follower) string {
	switch {
	case f.Offline:
		return "(offline)"
	case !f.Current:
		return fmt.Sprintf("(behind by %d, heard of %s ago)", f.Lag, age(time.Duration(f.SilentUS)*time.Microsecond))
	}
	return ""
}
