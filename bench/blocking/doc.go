// Package blocking measures how a loop had better sleep: see README.md. It has
// benchmarks and nothing else; they run on Linux.
package blocking
