// Package datagram measures UDP echo on a loop against package net: see
// README.md. It has benchmarks and nothing else; they run on Linux.
package datagram
