// Package handover gives the listening sockets of a process to the process that replaces
// it, so that an upgrade in place drops no connection attempt.
//
//	in, err := handover.Inherit(ctx, "/run/shop/handover")   // nobody there: a first start
//	defer in.Close()
//	network, at, socket := in.Address("clients", "tcp", "127.0.0.1:9000")
//	s, err := transportactors.CreateServer(ctx, factory, network, at, socket)
//	err = in.Serving(ctx)                                    // the process before lets go
//	offer, err := handover.Open(ctx, "/run/shop/handover", map[string]*transportactors.Server{"clients": s})
//	_, _, err = loopnode.Recv(ctx, offer.Replaced())         // until the next process serves
//	s.Close()                                                // and let the clients go
//
// How it works. The new process connects to the UNIX socket of the old one, which sends
// copies of its listening descriptors (SCM_RIGHTS). A copy is the same socket, with the same
// queue of clients that nobody has accepted yet. The new process begins to accept, and
// says so; only then the old one closes its copies and lets its clients go. At each moment
// somebody accepts, and no client is in a queue that is thrown away.
//
// Why not SO_REUSEPORT: two processes that bind an address with it have a queue each. The
// kernel resets what waits in the queue of the one that closes, unless the machine sets
// net.ipv4.tcp_migrate_req, which few do and which a program cannot ask for. Measured: of 28,000
// to 41,000 attempts at full rate during 30 such replacements 0, 3 and 11 were reset.
//
// A program on package nodecmd has all this as a flag: start --handover PATH. There a service
// gets its socket as an address, "fd://:N" (Sockets.At), and takes it with At.
//
// The first process of a service manager has its sockets from there: Inherit takes those
// that the environment names (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES), as systemd gives them
// to a service with a socket unit. The name of a socket is FileDescriptorName= there. A
// program without hand-overs takes such a socket with At, where its configuration says so:
//
//	ListenStream=9000                             # shop.socket
//	FileDescriptorName=clients
//	ExecStart=/usr/bin/shop start --shop fd://clients   # shop.service
//
// What is promised, and the test that proves it:
//
//   - Clients that connect at full rate while the process is replaced, several times, are
//     all served (TestAnUpgradeDropsNoConnectionAttempt).
//   - A new process that dies, or gives up, before it says that it serves changes nothing: the
//     old one goes on (TestANewProcessThatGivesUpChangesNothing).
//   - So does one that stands still with the sockets: after a minute the old one reports it
//     and offers them again (TestANewProcessThatStandsStillChangesNothing).
//   - Whoever stood still between their last words, one of the two serves: the new one goes
//     on exactly when the old one let go (TestTheWordThatCameWhileItStoodStill,
//     TestANewProcessThatGaveUpBeforeTheWord).
//   - The servers may be on several loops; one whose loop is stuck is a refusal after five
//     seconds, and the old process goes on (TestServersOfOtherLoops).
//   - One process at a time has the sockets offered: a second one is refused and hears
//     why (TestOneProcessAtATime).
//   - Nobody but the user of the process, and root, gets its sockets: the file has mode
//     0600, and both sides ask the kernel who the other one is (TestOnlyItsOwnUser).
//   - A service manager's socket is served on, also by a program of package nodecmd, and no
//     child inherits it; a number of sockets that is not right is an error and closes nothing
//     (TestSocketsOfTheServiceManager, TestAnAddressOfTheServiceManager, TestStartOnASocketOfTheServiceManager).
//   - Sockets that nobody took are closed by Close (TestSocketsThatNobodyTakesAreClosed).
//
// Not promised: connections that the old process has accepted stay with it, and end with
// it. How they are told is up to their protocol; see package drain for a node. Datagram
// sockets are not handed over.
package handover
