// Package subprocess starts child processes on a loop: asyncio's subprocesses.
//
// Two ways to have a child, and they differ in what its standard streams are:
//
//   - ExecProcess and ShellProcess return a Process, for code that waits: its
//     streams are inherited from this process unless WithStdin, WithStdout and
//     WithStderr say Pipe, and then they are Streams. asyncio:
//     asyncio.create_subprocess_exec.
//   - ExecProtocol and ShellProtocol return a Transport and the Protocol that it
//     calls. A protocol hears a child through pipes only, so the streams are pipes
//     unless options say otherwise. asyncio: loop.subprocess_exec.
//
// A child lives until it ends, or until Close or the end of its loop kills it.
// It is reaped in any case. Supervision starts a command again when it ends.
// Everything here belongs to the goroutine of the loop; from elsewhere a child
// is reached through its actor (Transport.Actor).
package subprocess
