package differential

// Program is a random program: what both interpreters run. Times are in units of
// 1/512 s, which both int64 nanoseconds and float64 seconds hold exactly.
type Program struct {
	Seed       uint64
	Futures    int     // that exist from the beginning
	Events     int     // tasksync.Event
	Locks      int     // each with a condition on it
	Semaphores []int   // their values
	Queues     []int   // their bounds; 0: none
	Barriers   []int   // their parties
	Tasks      []Block // Tasks[0] is main; a body spawns only later ones
	Callbacks  []Block // a body schedules only later ones
	End        int64   // when main is cancelled at the latest
}

// Block is steps one after the other.
type Block []Step

// Step is one thing to do. Which fields count depends on Op, see the table of ops.
type Step struct {
	ID    int // unique in the program: its name in the log
	Op    string
	A     int    `json:",omitempty"` // an object by its place
	N     int    `json:",omitempty"` // a number, a body, a mode
	D     int64  `json:",omitempty"` // a time
	Vars  []int  `json:",omitempty"` // awaitables
	Block Block  `json:",omitempty"`
	Other Block  `json:",omitempty"`
	Catch string `json:",omitempty"` // "": errors end the block; "errors": all but a cancellation are kept; "all"
}

// The ops of tasks. Awaitables are numbered in the order in which they were made: the
// futures of the program first, then every task and shield. A step that names one
// that does not exist yet, or one that its own task must not wait for (itself, or
// something older, which could wait for it), logs "none" and goes on.
var taskOps = []string{
	"log", "sleep", "spawn", "await", "cancel", "set", "fail", "gather", "wait", "timeout", "group", "shield", "state",
	"event", "lock", "condition", "notify", "semaphore", "queue", "barrier", "soon", "later", "unschedule", "done",
	"raise", "cancelling", "uncancel", "finally", "generate",
}

// The ops of callbacks, which do not wait.
var callbackOps = []string{"log", "spawn", "cancel", "set", "fail", "shield", "state", "event", "soon", "later", "unschedule", "done", "raise", "notify", "queue"}
