// Package differential runs random scheduling programs on loopmesh and under
// CPython and compares what they log, line by line.
//
// A Program is data: bodies of tasks and of callbacks, made of steps that a
// generator draws from a seed. Two interpreters run it, Interpret here and
// python/interpret.py, each on a loop whose clock is virtual. They log the same
// words: the time, who, which step, what came of it. Where loopmesh differs from
// CPython on purpose, the generator does not go (a rule beside each such choice names
// the line of tests/conformance/differences.md).
//
// The reference is the newest CPython, which few systems have: it comes as the npm
// package pyodide and runs in Node.js. The comparison stands behind the tag foreign:
//
//	make differential SEEDS=2000
package differential
