//go:build !linux

package testkit

const asChild = "no children here"

func childMain([]string, map[string]func(args []string)) {}
