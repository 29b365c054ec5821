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
// All take ?timeout=2s. A list says under "partial" who did not answer. An error
// is {"kind":"Error","error":{"kind","message","hint"}} with a status of 400 and
// more.
package admin
