// Package engine connects a node to NATS, the only network between nodes, and runs
// the NATS server inside the process when there is one. Nothing here knows what a
// frame, a loop or a member is.
//
// Where the server is. A node has one of three:
//
//   - an embedded server of its own (nothing set, or Listen): one process, one
//     cluster; other nodes may join it, and it is the only one, so without it the
//     others cannot talk;
//   - an embedded server that is one of 3 or 5 voters (Voter, Routes): the servers
//     are connected to each other by routes and form one NATS cluster. Any client
//     reaches any other through any voter, so the cluster goes on while a majority
//     of the voters lives. Every voter has the same list of routes;
//   - somebody else's server (Join, URL, Beside): the node is a client. It knows all
//     voters and connects to another one within milliseconds when its own is gone.
//
// What each connection carries. A node opens three, so that one kind of traffic
// cannot hold up another (see Kind): Control has calls, answers, watches and signs
// of life; Bulk has the bytes of streams; Notices has only what the server says
// about clients that come and go, which is how a killed process is known within
// milliseconds. They are Links: a Link lives as long as the engine, the nats.Conn
// in it is replaced when the node's keys change.
//
// Who may connect. A server without keys listens on loopback only (Config.Insecure
// says otherwise and is warned about every hour). With keys (package keys) it takes
// clients with a certificate and a statement of its cluster, and lets each publish
// under its own name only. Each node reads its key folder again when it changes and
// moves to its new keys without losing a message; servers pass on which keys are
// revoked.
//
// JetStream runs where a server has a StoreDir, from the server's start: the voters of
// JetStream have to be the same from the beginning, and what a single server keeps has
// to be there for other nodes when it is started again.
package engine
