// Package readme proves that the programs printed in README.md build, and that
// the one about two nodes prints what it says.
package readme
