// Package rawio makes the system calls of the hot paths without telling Go's
// scheduler: input and output of sockets, and many datagrams with one call. It is
// the only package of this module that may import unsafe.
//
// Why: around an ordinary system call the runtime notes that the goroutine may
// sleep, so that its processor (P) can be handed to another one, and takes it back
// afterwards. A call that never sleeps pays for that and gains nothing; with many
// connections, and with GOMAXPROCS=1, the processor is often really gone and coming
// back costs a switch of threads. Figures: bench/peers (echo), bench/datagram.
//
// Why it is safe: a thread inside such a call cannot be preempted, and the garbage
// collector waits for it. So a call may neither sleep nor take long. Neither is
// left to the caller's care:
//
//   - every call that could wait carries MSG_DONTWAIT, so that the kernel answers at once,
//     also when somebody took the descriptor's non-blocking flag off (Accept, which has
//     no such flag, is an ordinary call);
//   - one call moves at most Most bytes of a stream or MostMessages datagrams, which
//     is below 200 µs; Send takes more by an ordinary call.
//
// What is handed to the kernel is a pointer to memory of Go that is reachable for
// the whole call: for the stream calls the argument itself, for Batch the buffers that
// the Batch holds in typed pointers. The kernel keeps none of them: the calls are
// synchronous. The race detector is told what was read and written (race.go).
package rawio

const (
	// Most is how many bytes of a stream one call sends that the scheduler does not
	// know of.
	Most = 64 << 10
	// MostMessages is how many messages a Batch holds at most.
	MostMessages = 64
)
