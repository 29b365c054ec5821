// Package prove runs a cluster of real processes under load, does to them what happens
// to processes and machines, and checks what is promised on the histories that they
// wrote:
//
//	make prove-short            # some minutes
//	make prove                  # half an hour
//	make prove SEED=7           # the same faults as in another run with that seed
//
// Three voters and two workers are processes of their own, with keys; two clients live in
// the driver. Everybody serves the calls for later of one group, works on one queue and
// wants the same names. A seed decides which fault comes when, to whom and for how long.
// Package history has the checkers; docs/promises.md says what each row of the table means.
//
// What needs root (network namespaces, a disk of a few megabytes) says so where there is
// none, and its rows are not ok.
package prove
