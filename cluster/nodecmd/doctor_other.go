//go:build !linux

package nodecmd

// Nodes run on Linux; elsewhere doctor says that first, and asks this system nothing.

func descriptorLimit() (soft, hard uint64, err error) { return 0, 0, errUnknownHere }

func clockSynced() (bool, error) { return false, errUnknownHere }

func diskRoom(string) (free uint64, inMemory bool, err error) { return 0, false, errUnknownHere }
