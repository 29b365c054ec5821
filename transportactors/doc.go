// Package transportactors has connections, servers and streams on a loop:
// asyncio's transports and protocols.
//
// Which one do I use?
//
//   - Code that waits, reads and writes in one function: a Stream. StartServer
//     runs a task for each connection, OpenConnection makes a client's.
//   - A state machine that is called, the cheapest there is: a Protocol, with
//     CreateServer and CreateConnection.
//   - UDP: CreateDatagramEndpoint. A pipe: ConnectReadPipe, ConnectWritePipe. A
//     child process: package subprocess.
//   - From another goroutine or node: the transport's Ref, and only that.
//
// All of it wants the ctx of a task, or one of Loop.Context: that is how it finds
// its loop.
//
// A Protocol is called by the loop, one method at a time: ConnectionMade first,
// ConnectionLost once and last. It answers through its Transport. Both belong to
// the loop's goroutine; everybody else uses the Ref of a transport. Bytes pass
// no mailbox: the poller calls the transport, the transport the protocol.
//
// A method of a protocol that panics ends its own connection, with the panic as
// the reason, and is reported to the loop's exception handler; so does one that
// calls runtime.Goexit, as t.FailNow does in a test, with loopnode.ErrGoexit.
//
// TLS is an option (WithTLS), or comes later (StartTLS). crypto/tls does the
// work, on the loop: a handshake is a task, an idle connection costs no stack.
// Config's callbacks run on the loop; those with a ctx may wait with it.
//
// A datagram endpoint is the same for sockets that carry packets: a
// DatagramProtocol hears of each with its sender's Addr.
//
// A Stream is the same connection for code that waits: an io.ReadWriter in a task.
// Package framing cuts what a Protocol receives into packets.
//
// # What a peer can make grow
//
// Every buffer that a peer, or a slow reader, can make grow has a limit. StatsOf
// adds up what the transports of a loop hold.
//
//	buffer                      limit                        set by                 beyond it                    test
//	output of a connection      high mark + 16 MiB, or one   WithWriteLimit,        ErrWriteLimit ends it        TestWriteLimit,
//	  (TLS, pipes, stdin too)     write at the high mark       SetWriteBufferLimits                                TestPipeWriteLimit
//	output of a datagram        as above                     as above               ErrWriteLimit, the packet    TestDatagramWriteLimit
//	  endpoint                                                                        is not queued
//	Ref.Write on its way        1 MiB, nothing while the     -                      loopnode.ErrBusy             TestRefWrites
//	                              output is paused
//	Ref.WriteWait               one write a goroutine        -                      it waits                     TestRefWrites
//	WriteRequest that waits     the write limit              WithWriteLimit         ErrBusy, or ErrWriteLimit    TestWriteRequests
//	                                                                                  ends it (no Ask)
//	Sendfile over TLS           the high mark + 16 KiB       SetWriteBufferLimits   it waits                     TestSendfile
//	TLS: answers of crypto/tls  high mark + 64 KiB + a read  SetWriteBufferLimits   reading is paused            TestTLSFlood
//	TLS: written in handshake   the write limit              WithWriteLimit         ErrWriteLimit ends it        TestWriteLimit
//	TLS: read in handshake      4 KiB and a message          -                      crypto/tls ends it           FuzzTLSInput
//	TLS: not decrypted yet      one read (256 KiB)           -                      reading is paused            TestTLSKeepsInput
//	TLS: sent behind our end    4 MiB                        -                      the connection ends          TestTLSFlood
//	TLS: read in one turn       128 records with data        -                      the rest waits for the next  TestTLSFlood
//	unread bytes of a Stream    2 limits and one read        WithLimit              reading is paused            TestStreamBackPressure
//	ReadUntil, ReadLine         the limit                    WithLimit              ErrLimitOverrun              TestReadUntil
//	framing.Buffer              its limit                    framing.New            framing.ErrTooLong           TestPackets
//	clients not accepted yet    the backlog                  WithBacklog            the kernel refuses them      -
//	silent connections          none, by default             WithIdleTimeout,       loopnode.ErrTimeout ends it  TestTimeouts
//	                                                           WithFirstByteTimeout
//	handshakes that stall       60 s                         WithHandshakeTimeout   loopnode.ErrTimeout          TestTLSHandshake
//	peers that do not answer    30 s                         WithShutdownTimeout    loopnode.ErrTimeout          TestTLSEnd
//	  close_notify
//	input behind a failed       what the kernel holds        -                      told after 30 s at last      TestLastInput
//	  write
//
// What a Protocol keeps in variables of its own, only the Protocol can bound. It has PauseWriting and
// ResumeWriting to stop writing, and PauseReading to stop the peer: an echo that
// pauses reading while its output is paused holds no more than the high mark and
// one read.
package transportactors
