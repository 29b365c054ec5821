// Package actors is the actor system of loopmesh: actors that live on a loop,
// refs to them that any goroutine may hold, supervision and watching. It is the
// only package that imports protoactor-go, whose life cycle (start, stop, restart,
// the tree of children) runs underneath mailboxes, Asks and strategies of our own.
//
// An actor lives on one [Loop] and is called only in the turns of that loop: each
// message is one callback in the loop's ready queue, so messages take turns with
// everything else there, and a sender on the same loop touches no lock.
//
// # Which one do I use?
//
//   - A program with one cluster node, or none: [Default], or the system of
//     loopnode.Config.Actors; [New] for one of its own.
//   - An actor: [System.Spawn] on a loop, from anywhere, or [Context.Spawn] for a
//     child, from inside an actor; [Func] makes an actor of a function.
//   - A message without an answer: Send. With one: [Context.Ask] inside an actor,
//     loopnode.Ask in a task, [System.Ask] in a goroutine.
//   - To hear of an end: Watch. To restart after failures: a [Strategy].
//   - To bound a mailbox: [WithMailboxLimit]. To see how long mailboxes are:
//     [System.Actors].
//
// # Life of an actor
//
// A life begins with the factory and the message [Started], both on the loop. It
// ends when the actor exits, fails or is stopped. After a failure the supervisor
// may give the actor a new life under the same Ref: the old one gets [Restarting],
// its children end, the mailbox stays. At the end the actor gets [Stopping], its
// children end, it gets [Stopped], and its watchers get [Terminated] once.
//
// What a life has made or taken ends with it: its timers and its own Asks do not
// fire in the next life, its watches are taken back, and an Ask that it has
// received and not answered gets an error.
//
// # Which goroutine may call what
//
// The methods of [Context] belong to the loop of its actor; the methods of
// [System] may be called from any goroutine.
//
// # What is bounded
//
// Messages of other nodes that wait for one actor, their unanswered Asks and their
// requests: Options.RemoteLimit each. Messages of this process:
// WithMailboxLimit, otherwise not; a mailbox of 65,536 messages of other
// goroutines is logged, and again each time it has doubled.
package actors
