package main

// row is one figure of the benchmarks that run both sides themselves.
type row struct {
	what      string // was done
	benchmark string
	unit      string // as the benchmark prints it
	format    string
	says      string // what the figure is
}

var rows = []row{
	{"UDP echo, 512 B, one peer, 64 under way", "Echo/peers=1/window=64", "cpu-ratio", "%.2f", "processor time of Go's net, through ours"},
	{"UDP echo, 512 B, 64 peers, 64 under way", "Echo/peers=64/window=64", "cpu-ratio", "%.2f", "processor time of Go's net, through ours"},
	{"TLS echo, 1 connection", "TLSEcho/1", "ratio", "%.2f", "our rate, through that of Go's net"},
	{"TLS echo, 64 connections", "TLSEcho/64", "ratio", "%.2f", "our rate on one processor, through that of Go's net on two"},
	{"the same", "TLSEcho/64", "cpu-ratio", "%.2f", "processor time of Go's net, through ours"},
	{"TLS handshakes", "TLSHandshake", "ratio", "%.2f", "our rate on one processor, through that of Go's net on two"},
	{"the same", "TLSHandshake", "cpu-ratio", "%.2f", "processor time of Go's net, through ours"},
	{"an idle TLS connection", "TLSIdle", "share", "%.2f", "our memory, through that of Go's net"},
	{"sendfile, 1 MiB", "Sendfile/1024KiB", "ratio", "%.2f", "our time, through that of plain system calls"},
	{"sendfile, 64 MiB", "Sendfile/65536KiB", "ratio", "%.2f", "our time, through that of plain system calls"},
	{"start a child process and wait for it", "Spawn", "ratio", "%.2f", "our time, through that of os/exec"},
	{"many small writes to one connection, gathered", "FanOut/gather=true", "deliveries/s", "%.3g", "pieces a second"},
	{"a callback on the loop, 1,000 a batch", "CallSoon", "ns/op", "%.0f ns", "each"},
	{"a callback from another goroutine", "CallSoonThreadsafe", "ns/op", "%.0f ns", "each"},
	{"a switch between two tasks", "TaskSwitch", "ns/op", "%.0f ns", "each"},
	{"a task, from start to end", "TaskSpawn", "ns/op", "%.0f ns", "each"},
	{"a loop that has nothing to do", "IdleLoop", "cpu-us/s", "%.0f µs", "processor time a second, of the whole process"},
	{"the same", "IdleLoop", "wake-ups/s", "%.1f", "wake-ups of threads a second, Go's own included"},
	{"two loops on two processors", "TwoLoops", "ratio", "%.2f", "callbacks, through those of one loop in the same time"},
	{"one of 100,000 timers, to set", "Growth/timers=100000", "ns/insert", "%.0f ns", "each, in a random order"},
	{"one of 100,000 timers, to cancel", "Growth/timers=100000", "ns/cancel", "%.0f ns", "each, in a random order"},
	{"one of 100,000 timers, to fire", "Growth/timers=100000", "ns/fire", "%.0f ns", "each, in a random order"},
	{"one of a million timers, to set", "Growth/timers=1000000", "ns/insert", "%.0f ns", "each, in a random order"},
	{"one of a million timers, to cancel", "Growth/timers=1000000", "ns/cancel", "%.0f ns", "each, in a random order"},
	{"one of a million timers, to fire", "Growth/timers=1000000", "ns/fire", "%.0f ns", "each, in a random order"},
	{"one of 10,000 tasks, to start and wait", "Growth/tasks=10000", "ns/start", "%.0f ns", "each"},
	{"its turn", "Growth/tasks=10000", "ns/switch", "%.0f ns", "each"},
	{"its memory", "Growth/tasks=10000", "B/task", "%.0f bytes", "heap and stack of each that waits"},
	{"one of a million tasks, to start and wait", "Growth/tasks=1000000", "ns/start", "%.0f ns", "each"},
	{"its turn", "Growth/tasks=1000000", "ns/switch", "%.0f ns", "each"},
	{"its end", "Growth/tasks=1000000", "ns/end", "%.0f ns", "each"},
	{"one of a million that wait for one future, to leave", "Growth/waiters=1000000", "ns/leave", "%.0f ns", "each, in a random order"},
	{"an actor's ask and answer on one loop", "PingPongSameLoop", "ns/op", "%.0f ns", "each"},
	{"an actor's ask from another goroutine", "AskFromGoroutine", "ns/op", "%.0f ns", "each"},
	{"Call to another node, over loopback", "Call/loopback", "ratio", "%.2f", "our time, through a bare NATS request"},
	{"Call to another node, in process", "Call/in-process", "ratio", "%.2f", "our time, through a bare NATS request"},
	{"64 callers at once, over loopback", "CallPipelined/loopback", "ratio", "%.2f", "our time, through bare NATS requests"},
	{"CallSoon to another node, counted when it has run", "CallSoon/loopback", "ns", "%.0f ns", "each, end to end"},
	{"of it processor time, both nodes and the server", "CallSoon/loopback", "cpu-ns", "%.0f ns", "each"},
	{"a stream to a connection of another node", "Stream", "cpu-ratio", "%.2f", "processor time, through bare NATS messages"},
	{"Call to a node that is not there", "AbsentNode/loopback", "p50-us", "%.0f µs", "median until the error"},
	{"20 nodes that do nothing", "Idle/nodes=20", "%-of-a-core", "%.1f %%", "of one processor"},
	{"80 nodes that do nothing", "Idle/nodes=80", "%-of-a-core", "%.1f %%", "of one processor"},
	{"a node of 80, its memory and its server's for it", "Idle/nodes=80", "KiB/node", "%.0f KiB", "each"},
	{"a node joins 19", "Idle/nodes=20", "join-p50-ms", "%.0f ms", "median until all know it"},
}
