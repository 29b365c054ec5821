// Package names gives a name to one owner in a cluster at a time: a singleton, the
// owner of a shard, the one who runs the timers of a group.
//
//	claim, err := names.Claim(ctx, node, "orders", ref)   // ErrTaken, or it is this node's
//	claim.Token()                                         // goes with every effect
//	owner, err := names.Resolve(ctx, node, "orders")      // from any node
//
//	placed, err := names.Place(node, "janitor", ref, fn)  // fn runs on one of the nodes that place it
//
// What is promised. A name is a record in JetStream that is written by compare-and-set,
// so of two that claim it at once one gets ErrTaken. It belongs to its owner as long as
// the owner's node has a lease: a record that the node renews every 4 s and that the
// servers remove 20 s after the last renewal. The node ends its ownership by itself,
// by its monotonic clock, 2 s before that (Claim.Done), also when it was stopped in
// between. A name is free again
//
//   - at once after Release, and when the node is closed;
//   - within milliseconds when the membership of the cluster knows that the process of
//     the owner's node has ended: its server says that the connection was closed, or the
//     voters that nobody listens where it listened, and NATS says twice that nobody answers;
//   - three seconds after it was given up for another reason: it was silent for
//     Config.DeadAfter, or is back at the moment of the claim. It may live on the other
//     side of a partition, and the next owner waits until it must have heard of it.
//     Membership makes a node that it may have given up stop by itself first, see
//     Claim.Held;
//   - else when the lease has ended. Servers go by their wall clocks: when that of the one
//     that leads is set forward by more than a lease lasts, all leases end at once. Then, too,
//     the next owner waits for three seconds while the former one is heard of.
//
// Two may believe that they own a name. A process that is stopped between a look at Held
// and its next step takes that step when it goes on, although somebody else owns the
// name by then. No lease can prevent that, and so each ownership has a token, a number
// that is higher for each later owner: what has an effect outside of the process must
// take the token along, and whoever keeps the effect must refuse a token that is lower
// than one it has seen (durable.Sink does).
//
// Where it works. The NATS in use needs JetStream: an embedded server with a StoreDir,
// three voters with one each, or an external NATS that has it. With one server a name
// survives that server's restart, and nobody can claim while it is away; with three
// voters one of them may be away. Without a majority Claim, Release and Resolve end with
// cluster.ErrNoQuorum within five seconds; owners keep what they have until their lease
// ends.
//
// A full store. Leases are renewed and names are released, and can change their owners,
// when the store is so full that calls for later and commands are refused: an eighth of
// each of its limits is kept for that (package durable). Only a claim of a new name is
// refused, when half of the eighth is used (ErrFull).
//
// What is not here: groups of loops (package groups). The time in
// which a machine sleeps is not counted by its monotonic clock, so an owner whose machine
// was suspended finds out by membership or by the store, not by its lease.
//
// Functions and methods may be called from any goroutine. What takes a ctx waits: it
// suspends the task ctx belongs to, or blocks the goroutine.
package names
