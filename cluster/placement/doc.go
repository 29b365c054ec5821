// Package placement keeps singletons running: whatever is wanted runs on one of the nodes
// that offer to run it, spread over them, and on another one when that node ends.
//
//	shard := placement.Kind{Name: "shard", Run: func(ctx context.Context, name string, o *names.Ownership) error { … }}
//	s, err := placement.Serve(node, loop, shard)            // on each node that may run shards
//	err = placement.Want(ctx, node, "shard", "eu-1")        // once, from anywhere; it is stored
//	p, err := placement.Where(ctx, node, "shard", "eu-1")   // on which node it runs now
//	list, err := placement.List(ctx, node)                  // what runs where, and what has failed
//
// Who decides? One of the nodes that serve owns the name "placement" (package names) and is
// the supervisor. Twice a second it reads what is wanted and asks the nodes that serve what
// they have; what nobody has it gives to the node of that kind that has fewest. When its
// node ends, another one does so. Nodes and the supervisor keep nothing that is not
// found out again: what is wanted is stored in JetStream, what runs is asked.
//
// What is promised, and the test that proves it:
//
//   - One at a time: an instance runs while its node owns the name "placement/KIND/NAME", and
//     its ctx ends with that. Run has the fencing token of the ownership; what it writes
//     durably carries it (durable.State, durable.Sink). So it does not matter that a
//     supervisor which was replaced gives the same order once more (TestRandomPlans,
//     TestTheNodeOfAnInstanceCloses).
//
//   - Placed again: when its node leaves or drains, within about a second; when its node has
//     died, after membership knows that. Never on suspicion (TestTheNodeOfAnInstanceCloses,
//     TestTheNodesOfInstancesAreCutOff).
//
//   - Spread: an instance goes to the node that has fewest. What runs is not moved to spread it
//     better: that would stop it (TestInstancesAreSpread).
//
//   - A failure is not repeated for ever: when Run returns an error, or panics, it is started
//     again, on another node if there is one, after 100 ms, then after twice as long each
//     time, at most 30 s. After more failures than its budget (Restarts) it has failed, which
//     is logged and listed, and waits for another Want (TestAFailingInstanceSpendsItsBudget).
//     The death of its node counts as a failure, so an instance that kills its process does
//     not do so for ever (TestAnInstanceThatKillsItsNodeHasABudget).
//     When Run returns nil it has finished and is not started again (TestAnInstanceFinishes).
//
//   - One that misbehaves harms no other: an instance that ignores the end of its ctx, or
//     fails with an error of megabytes, holds up neither the orders of others nor, for more
//     than three seconds, the end of its node (TestInstancesThatDoNotEnd,
//     TestAnInstanceFailsWithALongError, TestANodeClosesWithInstancesThatDoNotEnd).
//
// Not here: rules about which instances may be together, weights, and moving what runs.
//
// Functions and methods may be called from any goroutine. What takes a ctx waits for the
// store, at most five seconds: it suspends the task ctx belongs to, or blocks the
// goroutine. OTP: a supervisor of a distributed application, and its restart intensity.
package placement
