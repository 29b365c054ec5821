// Package clustertest starts several nodes in one process for tests of programs that
// use package cluster. The nodes are real ones and talk through a real NATS server;
// between each node and the server is a proxy, in which a test can stop the bytes,
// delay them, or close the connections:
//
//	func TestTheServiceSurvivesAPartition(t *testing.T) {
//		c := clustertest.New(t, 3, nil) // n1, n2, n3, which know each other
//		c.Cut("n2")                     // no bytes pass any more; nobody is told
//		c.Eventually("n1 has given n2 up", func() bool { return !c.Knows("n1", "n2") })
//		c.Heal("n2")
//		c.Together()
//	}
//
// What a test can do to a node:
//
//   - Cut, Heal: a partition. Bytes wait and arrive when it is healed, as over TCP. The
//     node and the others notice it because they hear nothing.
//   - Unplug, Heal: its connections end and new ones are refused. The node knows at
//     once, and so do the others, through the server.
//   - Delay: each byte takes so much longer in both directions.
//   - Crash: the node ends without saying goodbye. Restart: it starts again, as another
//     incarnation, with the configuration it had.
//
// Virtual is the same in the virtual time of testing/synctest, for what takes long: leases,
// calls for later, time-outs.
//
// The clock of New is the real one. So the nodes have short times (Heartbeat 50 ms, DeadAfter
// 500 ms, unless the test sets others), and a test waits for conditions (Eventually,
// Together), never for a duration. When a condition does not come, the test fails with
// what each node knows: its members, its loops, and what it has under way.
package clustertest
