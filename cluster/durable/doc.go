// Package durable is work that outlives the process that asked for it: calls for later
// that are stored, recurring calls, and queues of commands.
//
//	var remind = cluster.Func("shop.remind", func(ctx context.Context, order int) (struct{}, error) { … })
//
//	server, err := durable.Serve(node, "shop", ref)       // on each node that may run them
//	err = durable.CallLater(ctx, node, "remind-17", remind, 17, time.Hour, durable.Group("shop"))
//	err = durable.Repeat(ctx, node, "report", report, args, "0 8 * * 1-5", durable.Zone("Europe/Amsterdam"))
//
// What is promised. nil of CallLater, CallAt and Repeat means that the call is in
// JetStream, on the disk of the server or, with three voters, of two of them. It runs at
// least once, never before its time, on a loop of the node that owns its group (package
// names). It is marked as done when its function has returned nil, and only then. Who
// dies in between leaves it as it was: the next owner runs it again. So the function has
// to be one that may run twice, or has its effect through a Sink, which takes the effect
// of each id once and refuses the token of an owner that was replaced.
//
// When does it run? While the owner lives, from a heap in its memory, late by what the
// loop has to do before. After the owner's death as soon as another node that serves the
// group owns it: see names for how long that takes. After the death of every node when
// one that serves the group is started again. Run.Late tells how late it is.
//
// Which clock? A span (CallLater, @every) is measured by the monotonic clock of the
// owner: a step of the wall clock changes nothing. A time of day (CallAt, cron) is
// compared with the wall clock of the owner's machine each second and when it is due:
// after a step forward over it, it runs within a second; after a step back it waits; it
// runs no second time, because the run is written down by its time. What is left of a
// span when another process takes over is taken from the wall clock. Machines need NTP;
// a difference of two clocks is in the log of every node.
//
// What if it takes longer than its rule's span? Two runs of one recurring call never go on at
// once: the next one begins when the one before has ended. Times that passed meanwhile are
// misfires: one run for all of them, or one for each with RunAll
// (TestARecurringCallDoesNotOverlap).
//
// What if it fails? After an error it is tried again one second later, then after twice as long
// each time, at most a minute. After Attempts it is dead: it stays until FireNow or Cancel, is an
// event of the node that gave it up (events.DeadTimer), and 'loopmesh check' warns of it (DeadTimers,
// TestADeadTimerIsAnEvent). Of a recurring call only that time is given up, which is an event, too.
//
// What does it cost? One write of the store to arm and one when it ran: with an embedded
// server, which waits for the disk, about a millisecond each. The owner keeps all calls
// of its groups in memory, with their arguments.
//
// # A full store
//
// The store has limits: of its stream and of the account, where somebody has set one, and
// of what its servers may write to their disks. The last eighth of each is kept for what is
// under way. CallLater, CallAt, Repeat, Send and Sink.Apply are refused before (ErrFull, and
// nothing is written), while runs are written down, commands are acknowledged, and Cancel,
// FireNow and Requeue work, so a store that is full becomes empty again. A command whose
// function uses a Sink is an attempt that failed meanwhile. What a cancelled call would have
// run with goes at once; the rest of its record stays for an hour. When even half of the
// eighth is used, a command that is done is remembered for a minute instead of an hour, and
// dead letters wait as commands. An external NATS tells its clients of the limits of streams
// and accounts, and not of its own: give the account one.
//
// # Commands
//
// A command is a call that waits in a queue until it has run:
//
//		worker, err := durable.Work(node, "mail", ref)                          // on each node that may run them
//		err = durable.Send(ctx, node, "mail", "mail-17", send, letter, durable.Key(customer))
//
//	  - stored: nil of Send means that the command is on the disk, once for each id;
//	  - run: at least once, by the node that owns the queue, and acknowledged when the
//	    function has returned nil and that is written down;
//	  - in order: commands of one key run one after another, in the order in which they
//	    were stored, across failures and across owners. At most 64 keys run at a time;
//	  - repeated: after an error one second later, then after twice as long each time, at
//	    most a minute. After Redeliver attempts the command is a dead letter with the text
//	    of its last error. A process that dies while it runs a command counts as an
//	    attempt, so a command that kills its process does not do so for ever (TestWhatKillsItsProcessIsDeadInTheEnd);
//	    one that only waited there was not attempted (TestWaitingIsNoAttempt);
//	  - dead letters stay until somebody requeues them (Requeue). Each is an event of the
//	    node that gave it up (events.DeadLetter), and 'loopmesh check' warns of them.
//
// One node works on a queue at a time. Several nodes share work by several queues.
//
// # Effects
//
// "At least once" is what a queue or a timer can promise. An effect happens once where
// it is written down together with the id of the run, in one step, and where the token
// of a replaced owner is refused. Sink does that for keys and values in JetStream, package
// sqlsink for a transaction of a database of one's own:
//
//	func(ctx context.Context, in Payment) (struct{}, error) {
//		run, _ := durable.RunOf(ctx)
//		return struct{}{}, sink.Apply(ctx, run, func(tx *durable.Tx) error { … })
//	}
//
// State is a Sink with a type: the value of a key, the calls for later that it needs
// (CallLaterIn), and that the run has been, in one step. A singleton (names.Place) that
// keeps its value there goes on where its last owner stopped.
//
//	err = orders.Update(ctx, run, in.Order, func(o *Order, tx *durable.Tx) error {
//		o.Paid = true
//		return durable.CallLaterIn(tx, "ship-"+in.Order, ship, in.Order, time.Hour)
//	})
//
// # What proves it
//
// The promises are tested with processes that are killed with SIGKILL and stopped with
// SIGSTOP (TestKill…), with owners that leave (TestTheNextOwner…), with records that
// nobody can read, and the order of the schedule and of the lanes with random scripts
// against a plain model (packages schedule and lanes).
//
// # What is not here
//
// An owner holds 512 commands of its queue. Those behind a command that fails wait with it, so a
// key with that many in front of all others holds them up until its first one has run or is
// dead: give what may fail for long few attempts (Redeliver), or a queue of its own.
//
// An effect of a Sink or a State and the
// acknowledgement of its command are two steps, of two streams: between them lies a second
// run, which the Sink takes for one that has been. The
// server-side schedules of JetStream are not used: they follow the server's wall clock
// and fire up to 250 ms late.
//
// Functions and methods may be called from any goroutine unless they say otherwise. What
// takes a ctx waits: it suspends the task ctx belongs to, or blocks the goroutine.
// Without a majority of the servers everything here ends with cluster.ErrNoQuorum within
// five seconds; loops go on.
package durable
