// Package tasksync is asyncio's locks and queues: tasks of one loop wait for each
// other with them. A task that waits gives the loop back; the mutexes and
// channels of Go would block the loop with all its tasks.
//
// Lock, Event, Semaphore, Condition and Barrier are asyncio's of the same names;
// Queue, made by NewQueue, NewLIFO and NewPriorityQueue, hands items from task to
// task. They need no loop to be made: the first task that waits decides it.
package tasksync
