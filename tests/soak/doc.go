// Package soak runs a cluster of processes under a mixed load for an hour and asks whether
// anything rises: memory, goroutines, descriptors, and how long calls take.
//
//	make soak                   # an hour
//	make soak FOR=10m
//
// Four processes: one with the store, one that answers, one that is killed again and again,
// and the one that runs the test, with connections, TLS, child processes, timers, calls,
// commands and calls for later. Each but the killed one is looked at every second or so,
// behind a collection. A line is laid through what was seen, by least squares. A run is red
// when a line rises by more than its limit and by more than twice its error; when too little
// was done; when what was seen scatters so much that no rise could be told, except for the
// time of a call, which is then said not to be known: on a machine with other work it may
// be anything; and when something failed that nobody disturbed.
package soak
