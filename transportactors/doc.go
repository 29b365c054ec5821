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
// work, on the loop: a handshake is a task, a connection at rest costs no stack.
// Config's callbacks run on the loop; those with a ctx may wait with it.
//
// A datagram endpoint is the same for sockets that carry packets: a
// DatagramProtocol hears of each with its sender's Addr.
//
// A Stream is the same connection for code that waits: an io.ReadWriter in a task.
package transportactors
