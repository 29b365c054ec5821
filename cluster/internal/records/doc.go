// Package records keeps what has to survive a node: small records under subjects, of
// which the last one counts, in one JetStream stream of the cluster (<cluster>-LOOPS).
// Names and timers are such records. Commands wait in a stream of their own.
//
//	<cluster>.rec.own.<name>           who owns a name
//	<cluster>.rec.lease.<node>         that a node lives and may own names
//	<cluster>.rec.timer.<group>.<id>   a call for later
//	<cluster>.rec.effect.<sink>.…      effects of a sink, and which of them are done
//
// Every write is a compare-and-set: it says which sequence the last record of its
// subject has, and the server refuses it when that is not so. A write whose answer
// does not come may have happened. Put finds that out: every record is unique (Nonce),
// so whoever reads the last record of the subject knows whether it is the own one.
// Why no message ids of NATS: a stream with three replicas acknowledges the repetition
// of a write that somebody else has overwritten meanwhile.
//
// The sequence of a record is its fencing token: a later write of the stream has a
// higher one. The first sequence of a new stream is the time in microseconds, so tokens
// do not start anew when the stream was deleted and made again.
//
// What makes the store grow asks for room first (Add), so that what renews, ends or removes
// something (Put, Delete) still finds some when the store is full; see add.go.
//
// Reads go to the leader of the stream (AllowDirect is off). A leader that was deposed
// and does not know it yet can still answer with an old record: a decision is a Put,
// never a Get.
package records
