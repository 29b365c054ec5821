// Package loopnode is asyncio's event loop in Go: callbacks, timers, futures,
// tasks, executors, descriptor watching, in asyncio's exact order.
//
// A task or a callback must not block its goroutine: while it receives from a
// channel, waits for a sync.Mutex or calls time.Sleep, the whole loop stands
// still, its timers included, so that not even the deadline of its own ctx
// arrives. In a task use instead:
//
//	<-ctx.Done()            WaitDone(ctx)
//	v, ok := <-ch           Recv(ctx, ch)
//	time.Sleep(d)           Sleep(ctx, d)
//	mutex.Lock()            Acquire(ctx) of a tasksync.Lock
//	anything that blocks    ToThread, RunInExecutor
//
// A task that has called runtime.LockOSThread must not wait either: the Go
// runtime then ends the process. Code that needs a thread of its own runs in a
// function given to ToThread or RunInExecutor, where it may lock it. Debug mode
// refuses such a wait with ErrInvalidState.
//
// Which one do I use?
//
//   - A program of its own: Run(ctx, main). It makes a loop, runs main as a task
//     and tears everything down.
//   - Code that waits: a task (CreateTask) with Await, Sleep, Gather, Timeout.
//   - Code that must not wait: a callback (CallSoon, CallLater, AddReader).
//   - From another goroutine: the loop's Ref, and only that.
//
// How does a program end in good order? SIGINT cancels main, and so does the end of the
// ctx that Run was given:
//
//	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
//	defer stop()
//	err := loopnode.Run(ctx, main)
//
// The wait that main is in then returns ErrCancelled, once. Waits that come later wait
// as before, so that main can let its connections and children go, in a Timeout. Only
// ctx itself stays ended: give context.WithoutCancel(ctx) to functions of other packages
// there. The example examples/devices does all of this.
//
// Two types, two audiences. The methods of Loop, Future and Task belong to the
// goroutine that runs the loop: call them from callbacks and tasks, or while
// the loop is not running. The methods of Ref are safe from everywhere.
//
// A task's ctx carries its loop and its task. Await(ctx) suspends the task when
// ctx belongs to one and blocks the goroutine when it does not.
package loopnode
