//go:build !race

package multinode

const shadow = 1 // see race_test.go
