// Package admin shows a running node to people and programs outside it: an HTTP
// API with JSON on a unix socket that only the owner may open, and a client for
// it.
//
// Every node that calls Open answers questions of the others, through functions
// that run on its loops. So whoever asks one node sees the whole cluster, and a
// loop that does not answer is named instead of left out.
//
//	GET  /api/v1/nodes  loops  tasks  conns  servers  procs  actors  funcs  calls  traffic  events  codes
//	GET  /api/v1/health  streams  how nodes and the store are
//	GET  /api/v1/names  placements  timers  commands  commands/dead    what the cluster's store holds
//	GET  /api/v1/settings        what the nodes were started with
//	POST /api/v1/log/tail  log/levels  log/level  profile  nodes/reload    of one node
//	POST /api/v1/trace           one call, or the calls of a function for a while, over all nodes
//	GET  /api/v1/self            the node that answers, and the members it knows
//	GET  /api/v1/events/stream   text/event-stream
//	GET  /api/v1/openapi.json    every request and document, with their types
//	POST /api/v1/call  conns/write  conns/close  tasks/cancel  servers/close  procs/signal  actors/stop
//	POST /api/v1/timers/cancel  timers/fire  commands/requeue
//	POST /api/v1/procs/run       a command of a profile on any node, its stdio line by line (run.go)
//	GET  /api/v1/session   POST  /api/v1/session  session/end  session/ticket    of browsers
//	GET  /livez  /readyz  /metrics
//	GET  /                       the dashboard (package dashboard)
//
// All take ?timeout=2s; without it an answer takes five seconds at most. A list says
// under "partial" who did not answer. An error is
// {"kind":"Error","error":{"kind","message","hint","code"}} with a status of 400 and more.
// Every HTTP client that knows unix sockets will do:
//
//	curl --unix-socket $XDG_RUNTIME_DIR/loopmesh/n1.sock http://node/api/v1/nodes
//
// Whom does it trust? The socket lies in a folder that only its user can enter, so
// whoever can open it is that user, or root, and may do everything that the node may do.
// What the node itself may do on the others is decided there, by its rights (package
// keys). A client, the other way round, sends nothing to a socket of another user.
//
// Over TCP (Server.ListenTCP) a token stands in the place of the file permissions. What
// stops or ends something on another node (POST but call and write) takes the right
// "admin" there, whatever else the node may call. What changes the store takes it of the
// node that is asked.
//
// What is wrong is not decided here. Health and streams are facts: how far a clock is off,
// how much room a disk has, which copy of a stream is behind. From where on that is bad, the
// commands check and doctor say, or another program that reads the same.
//
// The log of a node, its levels, and profiles of its process are orders although they only
// look: what a program logs and what its stacks tell is for who runs it, not for everybody
// who may call a function or reaches the port.
//
// What does an answer cost? A survey is one call to every node and one to every loop.
// Nothing is kept between two of them, and nothing is collected while nobody asks, but
// for the last 1024 events of each node and a look at one number of each loop a second.
package admin
