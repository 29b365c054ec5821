//go:build !linux

package transportactors

const asChild = "no children here"

func childMain([]string) {}
