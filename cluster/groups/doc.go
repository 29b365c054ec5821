// Package groups finds and calls one of many: the loops of a group, the node that holds a
// key, or every loop there is.
//
//	m, err := groups.Join(node, "resize", loop)                 // this loop is one of the group
//	out, err := groups.Call(ctx, node, "resize", resize, in)    // on any of them
//	out, err = groups.Call(ctx, node, "resize", resize, in, groups.Key("user-7"))   // on that of the key
//
//	p, err := groups.Hold(node, "user-7")        // this node has a connection of user 7
//	at, ok := groups.Where(node, "user-7")       // which node has?
//
//	all, err := groups.CallEvery(ctx, node, reload, in)   // on every loop of every node
//
// Each node tells the others what it has: changes at once, its version each second; who
// missed something asks for all of it (package cluster/internal/roster). Everybody has a
// copy of what the others have, so Members and Where ask nobody. A node that does not use
// this package has no copy and tells nothing.
//
// What is promised, and the test that proves it:
//
//   - Members and Where are right two seconds after a change, in practice within
//     milliseconds; also when messages were lost (TestAGroupIsKnownOnEveryNode,
//     TestTenThousandKeysAndAKilledNode, TestWhatGotLostIsRightWithinTwoSeconds,
//     TestALostDeltaIsRepairedByADigest).
//   - What a node had is gone at once when membership knows that the node is dead or has
//     left: ten thousand keys with a killed node (TestTenThousandKeysAndAKilledNode).
//   - A call runs on one member, at most once. Another member is tried only when nothing
//     ran: the member was not there, is leaving, or refused it (TestARefusedCallGoesToAnotherMember);
//     an error of the function is never taken for that (TestAnErrorOfTheFunctionIsNoRefusal).
//     What waited at a member that ends did not run, and runs elsewhere
//     (TestCallsThatDidNotBeginGoToAnotherMember); a function that has begun is not repeated, on a
//     loop of this node either (TestACallThatRanOnALoopOfThisNodeIsNotRepeated).
//     A call that may have run is repeated only when it is Idempotent
//     (TestACallThatMayHaveRunIsNotRepeated).
//   - The member with the fewest calls of this node under way is called, equals at random
//     (TestACallGoesToTheMemberWithTheFewestCalls). Calls of one key go to one member, and
//     when members come and go only the keys that were theirs move
//     (TestACallOfAKeyStaysWithItsMember).
//   - CallEvery gives back what is there at its deadline (TestEveryLoopIsAskedAndOneIsStuck).
//
// Not promised: that two nodes choose the same member for a key while the group changes, and
// that one node only holds a key. Where something must have one owner, use package names.
//
// With keys every member of the cluster may tell of itself; a call takes the right call:GLOB
// as every call does.
//
// What it costs: each entry some hundred bytes on every node that uses this package, at
// most a million entries of each node; a change of n entries about n times their length,
// once, from NATS to each of these nodes.
//
// Functions and methods may be called from any goroutine and do not wait unless they take a
// ctx.
package groups
