// Package conformance compares loopmesh with asyncio. ids.txt is the catalogue
// of behaviours, differences.md says where we differ on purpose, golden holds
// programs for CPython with the traces they left, and the tests run the same
// programs here. The program in report prints how far it is.
package conformance
