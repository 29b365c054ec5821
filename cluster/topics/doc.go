// Package topics publishes typed messages to loops of all nodes.
//
//	var news = topics.Named[Item]("news")
//
//	sub, err := news.Subscribe(node, loop, func(m topics.Message[Item]) { … })   // a callback of loop
//	err = news.Publish(node, Item{…})                                            // from any node
//
// A topic exists by its name: topics.Named[Line]("room."+id) is the room. What is published
// reaches every loop that subscribes on any node. The node of the publisher sends it once;
// NATS carries one frame to each other node that has subscribers, however many; there the
// message is decoded once for each type that subscribers have, and queued once for each loop.
//
// What is promised, and the test that proves it:
//
//   - One frame a node: 10,000 subscribers on three nodes cost the publisher one frame, and
//     each other node receives one (TestOneFrameANode).
//   - At most once, in the order of each publishing goroutine. A message that got lost on
//     the way is told as a Gap as soon as another one of that node arrives (TestAGapOnTheWayIsTold);
//     what NATS hands over twice is delivered once.
//   - A slow loop holds up nobody: what waits for it is bounded, what does not fit is dropped,
//     counted and told as a Gap in its place, also when nothing follows (TestASlowLoopHearsOfItsGap).
//   - A subscriber that panics does not keep the next one from being called, and a type that
//     a message does not fit is a Gap for who expects it (TestASubscriberThatPanics,
//     TestAMessageThatDoesNotFit).
//   - With keys a node publishes to topics that its right publish:GLOB names, and what it
//     publishes elsewhere reaches nobody (TestTopicsTakeARight). Every member of the cluster
//     may subscribe to every topic: do not publish what a member must not know.
//
// Not promised: that a message arrives, order between publishers, and that who subscribes
// hears what is published in the same moment (Subscription.Ready). A node that is cut off
// misses what is published meanwhile. What has to arrive is a durable.Send, or a call.
//
// What it costs. A topic with subscribers costs its node one NATS subscription and a
// goroutine; a subscriber some hundred bytes; a topic that was published to, a count of
// some hundred bytes, of at most 65,536 topics.
//
// Functions and methods may be called from any goroutine and do not wait unless they take a
// ctx.
package topics
