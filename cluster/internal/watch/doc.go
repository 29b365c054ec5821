// Package watch is the protocol by which a node is told, exactly once, that
// something on another node has ended: a loop, a connection, a child process or an
// actor. All of them have a path, and the protocol knows nothing else of them. The
// package is pure, in the manner of etcd/raft: it has no goroutine, no clock, no
// lock and no network.
//
// # Messages
//
//	asking node                          holding node
//	Watch{id, path}      ------------>   looks for the path, keeps the watch
//	                     <------------   Watching{id}
//	                        …            it ends
//	                     <------------   Terminated{id, reason}
//	Unwatch{id}          ------------>   forgets the watch
//
// Every message but Unwatch is answered, and repeated until it is: Watch by Watching
// or Terminated, Terminated by Unwatch. Unwatch also takes a watch back. An Unwatch
// that is lost leaves a watch whose Terminated is answered by an Unwatch again.
//
// # What is promised
//
// A watch that Outgoing has taken ends exactly once: by Terminated, by the end of
// the node it was sent to, or by Unwatch of its owner. Exactly once, because taking
// it out of the table is what ends it. It does end, because each step is repeated
// and the end of the node is found by membership.
//
// A watch is of one life of a node. Invariant: only that life can end it. A
// Terminated of anybody else is counted and changes nothing.
//
// # After a lost connection
//
// The asking node repeats all its watches (Outgoing.Again) whenever it has been cut
// off, or stood still, for so long that others may have given it up. The holding node
// parks the watches of a node it has given up and takes them up again then. A watch
// whose path has ended meanwhile is answered with Terminated, even if something else
// has that path by now: a watch never passes to a successor.
//
// # Limits
//
// Incoming keeps at most MaxPerNode watches of one node and MaxTotal of all; more
// are answered with Terminated at once and not kept. Repetitions are in the order of
// their last sending, at most AtOnce per Tick, so that a reconnect with many watches
// does not fill the link.
package watch
