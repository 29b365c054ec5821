// Package actors is the actor system of loopmesh: actors that live on a loop,
// refs to them that any goroutine may hold, supervision and watching. It is the
// only door to protoactor-go, whose life cycle (start, stop, restart, the tree
// of children) runs underneath a mailbox, futures and strategies of our own.
//
// An actor lives on one [Loop] and is called only inside the turns of that loop:
// each message is one callback in the loop's ready queue, so messages take turns
// with everything else there, and a sender on the same loop touches no lock.
//
// Which one do I use?
//
//   - A program with one cluster node, or none: Default, or the system of
//     loopnode.Config.Actors; New for one of its own.
//   - An actor: System.Spawn on a loop, from anywhere, or Context.Spawn for a
//     child, from inside an actor; Func makes an actor of a function.
//   - A message without an answer: Send. With one: Context.Ask inside an actor,
//     System.Ask in a task or goroutine.
//   - To hear of an end: Watch. To restart after failures: a Strategy.
//
// Which goroutine may call what: the methods of [Context] belong to the loop of
// its actor; the methods of [System] may be called from any goroutine.
package actors
