// Package drain lets a node leave its cluster without anybody losing something by it.
//
//	err := drain.Node(ctx, node, drain.OnProgress(func(p drain.Progress) { log.Println(p) }))
//
// The steps:
//
//  1. placement: the node's loops leave their groups (package groups) and join none any
//     more; placed singletons (names.Place) stop, their names are free for another node, and
//     this one claims no name any more.
//  2. New calls are refused: groups.ErrLeaving says that nothing ran. Listeners of the node's
//     loops are closed. Protocols with a GoingAway are told, and waited for.
//  3. commands: durable work begins nothing more; commands and calls for later that run end
//     and are acknowledged; what was taken and not begun goes to the next owner.
//  4. calls: what others have called ends.
//  5. leave: connections that are left are closed when they have sent what they had; then
//     the node is closed, which releases its names and says goodbye.
//
// Each step has a limit (Limit); what has not ended by then is cut off and named in the
// error.
//
// What is promised, and the test that proves it:
//
//   - A placed singleton runs elsewhere within a second (TestAPlacedSingletonMovesWithinASecond).
//   - A call of a group that this node refuses runs on another member, and a call that has
//     begun ends (TestCallsUnderWayEndAndNewOnesGoElsewhere).
//   - A command that runs ends and is acknowledged, and those that have not begun run on the
//     next owner; none is lost and none runs twice (TestCommandsUnderWayEndAndTheOthersMove).
//   - Protocols hear GoingAway before their connections are closed, and no connection is
//     accepted meanwhile (TestConnectionsAreToldAndListenersClosed).
//   - A connection whose peer is gone while its protocol does not read holds up nothing
//     (TestAConnectionThatIsClosingIsNotWaitedFor).
//   - A call that waits for a loop which is cut off, or is on its way while the node says goodbye,
//     ends with groups.ErrLeaving, and a call of a group runs on another member
//     (TestADrainOfAStuckLoop; groups: TestCallsThatDidNotBeginGoToAnotherMember,
//     TestACallOnItsWayToANodeThatLeaves).
//   - A loop that is stuck, or a store that is gone, holds up no step beyond its limit
//     (TestADrainOfAStuckLoop, TestADrainWithoutTheStore).
//   - The supervisor of placements, names and timers that are due meanwhile go to another node; each
//     timer runs once (TestADrainOfWhoOwnsEverything).
//   - There is one drain of a node, however many ask for it (TestManyDrainANodeAtOnce).
//   - A step that does not end is cut off at its limit, and says what (TestWhatDoesNotEndIsCutOff).
//   - A rolling restart of three processes under load fails no call of a group and loses no
//     command (TestARollingRestartUnderLoad).
//
// Not promised: calls for later that are not durable (Function.CallLater) are lost with their
// loop, as the error says; a call of one particular loop of the node has to be tried
// elsewhere by who makes it. Loops that are not the node's own (neither NewLoop nor Host) are
// not looked at.
package drain
