// Package admin shows a running node to people and programs outside it: an HTTP
// API with JSON on a unix socket that only the owner may open, and a client for
// it.
//
// Every node that calls Open answers questions of the others, through functions
// that run on its loops. So whoever asks one node sees the whole cluster, and a
// loop that does not answer is named instead of left out.
//
//	GET  /api/v1/self          the node that answers, and the members it knows
//	GET  /api/v1/nodes         NodeList
//	GET  /api/v1/loops         LoopList
//	GET  /api/v1/conns         ConnList: connections, with ids for the two below
//	GET  /api/v1/funcs         FuncList
//	POST /api/v1/call          {"function", "on", "payload"} → CallResult
//	POST /api/v1/conns/write   ?id=…, body: the bytes → Done
//	POST /api/v1/conns/close   ?id=…&abort=true → Done
//
// All take ?timeout=2s; without it an answer takes five seconds at most. A list says
// under "partial" who did not answer. An error is
// {"kind":"Error","error":{"kind","message","hint"}} with a status of 400 and more.
// Every HTTP client that knows unix sockets will do:
//
//	curl --unix-socket $XDG_RUNTIME_DIR/loopmesh/n1.sock http://node/api/v1/nodes
//
// Whom does it trust? The socket lies in a folder that only its user can enter, so
// whoever can open it is that user, or root, and may do everything that the node may do.
// What the node itself may do on the others is decided there, by its rights (package
// keys). A client, the other way round, sends nothing to a socket of another user.
//
// What does an answer cost? A survey is one call to every node and one to every loop.
// Nothing is kept between two of them, and nothing is collected while nobody asks.
package admin
