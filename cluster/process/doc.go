// Package process starts programs on other nodes of a cluster, with their stdin, output,
// signals and exit status here. A node offers profiles, which are commands with named
// arguments, and nothing else can be started on it:
//
//	err := process.Offer(node, process.Profile{ // on the node that is to run it, in Config.Prepare
//		Name: "backup",
//		Argv: []string{"/usr/bin/rsync", "-a", "/srv/{what}", "store:/backup/{what}"},
//		Args: map[string]string{"what": "[a-z]+"},
//		User: "backup",
//	})
//
//	p, err := process.Start(ctx, node, process.Command{Node: "n2", Profile: "backup", Args: map[string]string{"what": "mail"}})
//	_, err = io.Copy(os.Stdout, p.Stdout().Reader(ctx))
//	exit, err := p.Wait(ctx)
//
// Package subprocess starts programs on a loop of this process; this one is for the others.
// The command line is 'loopmesh proc run' (package nodecmd); examples/fleet is a program.
//
// # What may be started
//
// By default nothing: a node without Offer has no loop for children and no function that
// would start one. With profiles, another node needs the right "spawn:PROFILE" (package
// keys; Config.Allow without keys), which no node has unless it was given it. It may then
// start the profile, and signal, attach to and end what was started by it, by whomever.
// The program of the node that offers needs no right.
//
// A caller gives values for the {NAME}s of Argv, words for {...} and the variables that the
// profile accepts. Each is matched as a whole against a pattern, and is one word of the
// child's argument list: there is no shell that could read anything into it. Without a
// pattern a value is one line that does not begin with "-".
//
// The child has the environment that the profile says, the folder, the user and the limits;
// a session and a process group of its own; no descriptor of the node but its three pipes.
//
// # What is promised
//
// Each line names the test that tries to break it.
//
//   - Output and stdin arrive in order and whole, or the reader gets an error behind what
//     came; the exit code or the signal comes through. TestAProcessOfAnotherNode,
//     TestASlowReaderSlowsTheProcess.
//   - A reader that does not read stops the process, and no memory grows; stdin that is not
//     read stops the writer, and keeps no signal waiting. TestASlowReaderSlowsTheProcess,
//     TestStdinThatIsNotRead.
//   - Without the right nothing starts, and the refusal is counted and an event.
//     TestWithoutTheRightNothingStarts. With it, nothing but what the profile says.
//     TestWhatIsNotStarted, TestWhatAChildGets.
//   - When the owner's node dies, hangs, leaves or is cut off, a child of a profile with Kill
//     gets SIGTERM as soon as that is known (Config.DeadAfter, at most; milliseconds for a
//     process that was killed) and SIGKILL after the grace, and so does its group. No zombie
//     and no descriptor is left. TestTheOwnersProcessIsKilledOrHangs,
//     TestTheOwnersNodeIsCutOff, TestTheOwnerLeaves.
//   - A child does not see the end of its stdin because its owner is gone in the midst of it:
//     it is ended with the pipe open. TestAPartOfStdinIsNotTakenForAll,
//     TestAPartOfStdinIsLost. (With Keep it does
//     see it; a program that acts on the end of its stdin should not be kept.)
//   - With Keep it runs on, and Attach gets the newest of its output, what follows, and the
//     status. TestAKeptProcess, TestDetach. An owner that has forgotten its process counts
//     as gone. TestAnOwnerThatDoesNotAsk.
//   - When the node that runs it dies, hangs or is cut off, Wait and Read end with
//     cluster.ErrNodeDown; the kernel kills the child of a node that was killed.
//     TestTheHostsProcessIsKilledOrHangs. A node that is closed ends its children first and
//     every owner hears it, with the last of the output; one that is drained waits for them.
//     TestTheHostLeaves.
//   - With a control group (Profile.Group) nothing that a child has started outlives it, in
//     whatever session it is, and the limits hold for all of it together; where the machine has
//     no such group, nothing is started. TestAControlGroupEndsWhole,
//     TestWithoutAControlGroupNothingStarts.
//   - Never more children run than may, however many ask at once.
//     TestHundredsAtOnceAgainstTheLimit.
//
// # Limits
//
//	children of a profile                    8 (Profile.Children)
//	children of a node                       1000
//	output on its way, not read              1 MiB and a frame, for stdout and stderr each
//	stdin on its way, not read               1 MiB
//	arguments                                256 words of 4 KiB; all of a start: Config.MaxPayload
//	output that is kept (Keep)               256 KiB each (Profile.Spool, up to 16 MiB)
//	ended processes whose status is kept     for a minute (Keep: an hour, Profile.Kept), and no
//	                                         more of a profile than Profile.Children, at least 8
//	an owner that does not ask               30 s, then it counts as gone
//
// # What is not there
//
// No terminal: programs that want one get pipes. Without a Group in its profile, a process that
// calls setsid(2) itself leaves the process group and outlives its parent, and Limits are those
// of setrlimit(2), for each process alone. No hand-over: the children of a node end with it,
// and are not started elsewhere; work that has to survive its node is a command of package
// durable. Linux only, as package subprocess.
package process
