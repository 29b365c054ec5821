// Package membership decides which nodes are members of a cluster and which node
// owns a name. The package is pure, in the manner of etcd/raft: it has no
// goroutine, no clock, no lock and no network. Messages, answers of the server and
// the time go in; messages to send and events to report come out (Machine.Take).
//
// # States of another node
//
//	           first sign of life      it answers a question
//	unknown ------------------> candidate ------------------> alive
//	                                                          |  ^
//	                      two heartbeats missed, or           |  | any sign
//	                      nobody listens, or the server       v  | of life
//	                      says its connection is closed,     suspect
//	                      or a voter that it has ended
//	                                                          |
//	            evidence (below)      dead  <-----------------+
//	            it said goodbye       left  <-----------------+
//	            a newer incarnation   dead  <-----------------+
//
// A candidate is a name somebody has used. It becomes a member when it answers a
// question that was sent to its own subject, so that an invented name, or a node
// that can be heard but not reached, never becomes one.
//
// # Evidence
//
// Suspect costs nothing and is taken back by any sign of life. Dead is final for
// those who watch the node, so it needs evidence:
//
//   - absence: the server says twice that nobody listens on the subject of this
//     incarnation, the second time at least patience after the first. Patience is
//     4 ms when the server also says that the process closed its connection, or a
//     voter that the process is gone. It is Config.Patience when the connection may be
//     on its way back.
//   - silence: nothing was heard for Config.DeadAfter although the node was asked,
//     and a heartbeat of our own, sent after that time, has come back.
//
// # The own link
//
// Invariant: evidence against others counts only while the own link is proven.
// A node receives its own heartbeats, through the subscription that brings the
// heartbeats of others. One that comes back proves three things at once: this node
// can send, the server works, and what the server had queued for us before it has
// been read. The link is not proven while it is down or isolated, while a heartbeat
// of our own is out for longer than Config.LateEcho, after a tick that came late
// (this process stood still), and for a while after a reconnect or a long stall,
// in which others need time to reconnect too. Whenever the proof returns after a
// stall, all silences start anew. Without this rule the one node that stood still
// declares all others dead, because it heard none of them.
//
// # Names and incarnations
//
// A name belongs to one incarnation at a time. Incarnations of a name are ordered:
// of two that live, the newer one ends the older one. A starting node asks whether
// somebody listens as its name (Probe), then tells everybody that it wants the name
// (Claim) and waits Config.Settle for an objection (Refuse). The holder objects, and
// so does every member that knows a newer incarnation. A node that was cut off
// claims its name again after every reconnect.
//
// A message that says that a newer incarnation lives is a reason to ask, never a
// verdict: without keys anybody can publish it. This node asks that incarnation on its
// own subject, and has lost when it answers. When members say that they have known
// one, it asks each of them, and has lost when more than half of them answer so: the
// newer one may have ended meanwhile. The numbers of these questions cannot be guessed
// (Config.Secret). Others, too, take a newer incarnation for the node only when it has
// answered their question. Meanwhile this node serves on, which does no harm: what
// reaches it was sent to this incarnation.
//
// The loser of a conflict is fenced for good (event Lost): it serves nobody any more
// and must end. Invariant: frames are sent to one incarnation, never to a name, so
// two processes of one name never execute the same call, whatever their clocks say.
//
// # Self-fencing
//
// The heartbeat that came back last was sent at a known time on this machine's
// monotonic clock. Others have heard it, so none of them gives this node up before
// DeadAfter has passed since. The node stops serving a margin earlier
// (Machine.ServeUntil, event Fenced) and serves again when a heartbeat has come back
// and its claim was not refused (event Serving). Without it, a node that was stopped
// for 10 s would execute what was queued for it although its replacement already runs.
//
// A node that serves again does so in a new period (Machine.Period), which the records that it
// writes carry. A node that has given it up before it heard a heartbeat of that period has
// ended an earlier one (Machine.Covers). And a node that finds itself fenced takes back what it
// said of others for their silence: it may be the one that was cut off.
package membership
