// Package supply keeps the list of everything of others that is built into this module's
// programs and tests on Linux: dependencies.txt has a line for each module, with its
// version, its licence and the reason it is there. A test compares it with what the go
// command builds and with the licence files of the modules; a new dependency, or a new
// version, shows up as a line that somebody has to write.
//
//	make supply   # that, go mod verify, and a build that is made twice and compared
package supply
