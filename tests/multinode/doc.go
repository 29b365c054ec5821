// Package multinode tests clusters as their users have them: three nodes in one
// process, and three processes of the built program that are interrupted,
// stopped and killed.
package multinode
