//go:build !linux

package transportactors

var programs map[string]func(args []string)
