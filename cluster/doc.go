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
//     same process: Config.Beside. Other processes of this machine: Listen on one
//     node and Join on the others; that one carries the messages of all, so without
//     it the others cannot talk. Several machines: three nodes with Voter and Routes,
//     whose servers form one NATS cluster, and Join with all three on the others; or
//     the URL of a NATS of your own.
//   - Run something on a loop of another node: Func, then Call for its result,
//     CallSoon, CallLater and CallAt without one. The state of the loop that it works
//     on is a loopnode.PerLoop, and NodeOf(ctx) is the node it runs on.
//   - Send a message to an actor of another node: RegisterMessage registers its type,
//     Node.Actors is the system to send from, actors.RefOf names the receiver.
//   - Write to a connection of another node: Node.Transport, as to one of your own; a
//     function that runs there tells the address (see the example).
//   - Hear that a loop, or its node, has ended: Node.Watch.
//
// How soon is a death seen? A killed process within milliseconds where the server
// tells its clients whose connection has ended: every embedded server does. A voter that
// is killed takes its server along; the other voters find that its machine refuses
// connections, and tell everybody, within milliseconds, too; a majority of the voters has
// to say so, since a firewall between two may refuse in the name of the machine. Elsewhere a node asks those
// it depends on (a watch, a call under way, a watched actor), up to 16 of them every
// 20 ms. What it is told is only a reason to ask: a node is given up when NATS
// twice says that nobody listens under its name, or when it was silent for
// Config.DeadAfter. An external NATS tells too when its operator lets the account of the
// nodes import $SYS.ACCOUNT.*.DISCONNECT of the system account.
//
// What happens when too much arrives? The sender waits, or is refused; when something
// that was sent is dropped, its sender is told:
//
//   - calls without an answer: 2,048 or 512 KiB of one node may be under way to one loop
//     and not taken by it. Then CallSoon waits, and TryCallSoon is ErrNoCredit. A loop
//     runs Config.MaxInbound of them at a time; the others keep their credit. Other
//     loops of the same node are not slowed. All that one node has under way to this one
//     and that waits: 64 MiB, then its further calls are refused (ErrBusy);
//   - calls: Config.MaxInbound unfinished ones of each loop, or 64 MiB of arguments, then
//     ErrBusy;
//   - calls for later: Config.MaxTimers of a node, or 64 MiB, then they are refused;
//   - messages of actors: as calls without an answer, for each actor; Send never waits
//     and is ErrNoCredit;
//   - bytes to a connection of another node: 1 MiB of each stream, and 65,536 streams of
//     others, 16,384 of one node;
//   - watches of others: 100,000, of one node 50,000, then ErrBusy; members: 10,000,
//     then not known; names that were used but never answered: 1,024; former members
//     that are remembered: 4,096; member events that a reader has not read: 1,024, then
//     events.Lagged;
//   - lives of nodes that are no members and keep something here (flows, watches,
//     streams): 256, four of one name, each for 10 s, then they are refused;
//   - signs of life and claims of names: 200 of one node a second, then not looked at;
//   - failed calls without an answer that are reported: 10 a second, the others are counted;
//   - frames not yet looked at: 512 Ki messages or 256 MiB, then NATS drops the
//     newest (Dropped): calls among them end by their deadline. What waits at an
//     embedded server for one node: 256 MiB, then its connection ends and is made anew.
//
// Limits of one node count all lives of its name: with keys it has no other name.
//
// What is posted to one node without an answer travels in batches of up to 32 KiB.
// A batch never waits to become full. What gets lost on the way, or does not run when it
// has arrived, is told to Config.OnLoss and counted (Lost, Refusals).
//
// What each thing promises:
//
//   - Call runs the function at most once and ends in exactly one of result,
//     error, refusal or timeout. After a timeout, ErrDisconnected or ErrNodeDown
//     the caller does not know whether the function ran.
//   - CallSoon, CallLater and CallAt run it at most once; CallSoon from one node to
//     one loop keeps its order. nil means: sent; what does not run then
//     is told to Config.OnLoss.
//   - Bytes to a connection arrive in order and whole, or the connection is aborted and
//     the writer hears it (ErrLost). nil of Write means: accepted within the window.
//   - Watch delivers Terminated exactly once, also when the node dies.
//
// How do values travel? As CBOR, with the names of the tags cbor or json; []byte and
// protobuf messages as they are; as JSON where a type can only write itself so
// (MarshalJSON) and for who asks in JSON. A reader takes all of these. Programs of two
// versions understand each other while fields are only added and removed: an unknown
// field is ignored, a missing one is zero; a renamed one is another one, and a type that
// does not fit ends the call with ErrBadPayload. What an any holds comes back as nil,
// bool, int64 (*big.Int beyond), float64, string, []byte, time.Time, []any or
// map[string]any.
//
// Who may do what? Without Keys a server listens on this machine only, and every
// process that reaches it is trusted wholly: it may call everything, and a frame that it
// forges in the name of another node counts, so it may answer for that node and refuse a
// starting one its name. With Keys (package keys) the server takes
// nodes of its cluster only and lets each send in its own name only. What a node may
// do on the others are its rights: call:GLOB, publish:GLOB, timer:GLOB, write, spawn:PROFILE, admin.
// A node without a right gets ErrRefused where it waits for an answer; the refusal is
// logged and counted (NoRight) on the node that refused.
//
// Programs of two wire versions do not understand each other: a frame of another version is
// refused, counted (Malformed) and logged at most once a second. Within a version kinds of
// frames are only added.
//
// What a program can follow: Node.Events is one stream of who comes and goes, of whether
// this node may serve, and of what did not work between two nodes: refusals for want of a
// right, subjects that the server denied, claims of this node's name, messages that NATS
// dropped here or that never arrived (package events).
//
// Without a connection to NATS a node keeps its loops running. Calls under way end
// with ErrDisconnected at once, and so do new ones; it goes on trying and is back by
// itself. A node whose server has lost most of the other voters moves to another one
// that it reaches. One that reaches none serves nobody (events.Fenced), and its calls to the
// other side end with ErrDisconnected at once.
//
// Functions and methods here may be called from any goroutine unless they say
// otherwise. None of them waits unless it takes a ctx.
package cluster
