// Command mutants asks the tests whether they notice faults. A mutant is one small
// change of the program that breaks a promise: a lock that is not taken, a limit that is
// off by one, an error that is dropped. For each mutant in rows/ the command builds the
// program with the change, runs the tests of the package that makes the promise, and
// expects them to fail. A mutant that they do not notice is a survivor: the promise has
// no test. Survivors make the command fail.
//
//	go run ./tests/mutants                      # all
//	go run ./tests/mutants -only 'inbox|poller' # those whose name or file has one of these texts
//	go run ./tests/mutants -quick               # those marked quick: the packages with fast tests
//
// The tree is not changed: the go command gets the changed file with -overlay.
//
// # Rows
//
// A file in rows/ has one row per mutant. Rows are separated by empty lines:
//
//	# A Put between the look and the wait is not lost.
//	file internal/inbox/inbox.go
//	test ./internal/inbox -run TestSleep
//	- 	if b.pending.Load() {
//	+ 	if false {
//
// The first line names the promise. The lines after - are the old text and must be in
// the file exactly once, as whole lines; their indentation and the comments at their ends
// do not count. The lines after + are the new text; without any, the old text is removed.
// test gives the arguments of go test; -run keeps slow packages short. A row may say
//
//	quick           it belongs to -quick
//	time 60s        how long its tests may take (default 2m); a test that hangs is noticed, too
//	equivalent WHY  no test can notice it, and why; the command then expects it to survive
//	untried         it has not been seen noticed yet: when it survives, the command reports
//	                it and does not fail; the word goes when a test notices the mutant
//
// A row whose old text is not in its file, or whose mutant does not compile, is an
// error of the row. go test ./tests/mutants checks the first for all rows.
package main
