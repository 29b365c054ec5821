// Package cluster joins loops of several processes and machines over NATS.
//
// A process that calls Start is a node: a stable name and an incarnation, a
// random number that is new at each start. A loop on a node is addressable from
// every other node as node/loop. What crosses nodes is never a closure but the
// name of a registered, typed function and its arguments:
//
//	var add = cluster.Func("math.add", func(ctx context.Context, in Sum) (int, error) { … })
//
//	node, err := cluster.Start(ctx, cluster.Config{})   // an embedded NATS, nothing to install
//	ref, err := node.Ref("n2/io-0")
//	sum, err := add.Call(ctx, ref, Sum{1, 2})           // runs as a task on that loop
//
// Which one do I use?
//
//   - One process, or a first try: Start with a zero Config. A second node in the
//     same process: Config.Beside. Other machines: Listen on one node and Join on
//     the others, or the URL of a NATS of your own.
//   - Run something on a loop of another node: Func, then Call for its result,
//     CallSoon, CallLater and CallAt without one.
//   - Send a message to an actor of another node: Message registers its type,
//     Node.Actors is the system to send from, actors.RefOf names the receiver.
//   - Write to a connection of another node: Node.Transport.
//   - Hear that a loop, or its node, has ended: Node.Watch.
//
// What each thing promises:
//
//   - Call runs the function at most once and ends in exactly one of result,
//     error, refusal or timeout. After a timeout, ErrDisconnected or ErrNodeDown
//     the caller does not know whether the function ran.
//   - CallSoon, CallLater and CallAt run it at most once; CallSoon from one node to
//     one loop keeps its order. nil means: sent, not: will run.
//   - Watch delivers Terminated exactly once, also when the node dies.
//
// Functions and methods here may be called from any goroutine unless they say
// otherwise. None of them waits unless it takes a ctx.
package cluster
