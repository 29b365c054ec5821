// Package simulate runs a cluster in virtual time, under faults that a seed plans:
//
//	make simulate                      # 1,000 seeds
//	make simulate SEEDS=10000
//	make simulate SEEDS=1 FIRST=4711   # the plan of one that failed, again
//
// Everything is in one bubble of testing/synctest: the real NATS server, the real nodes, and
// the pipes between them, on which bytes are stopped, delayed and lost with their connections
// (clustertest.Virtual). A minute of a cluster takes a part of a second, so many more
// plans are tried than with processes (package prove); the checkers are the same ones.
//
// A seed decides which fault comes when, to whom and for how long, to the nanosecond of the
// virtual clock. It does not decide which of several goroutines that may run runs first: that
// is Go's, and differs from run to run. So a seed that failed plays its plan again, and fails
// again unless what broke hangs on that order, too; then run it several times.
//
// What is not in it: the disk (JetStream, and with it names and durable work), routes
// between servers, sockets, and processes that stand still.
package simulate
