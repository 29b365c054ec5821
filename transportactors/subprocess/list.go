package subprocess

import (
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// Transports are the child processes on l whose transport has not ended, in no order.
// It is a fresh list. Loop goroutine.
func Transports(l *loopnode.Loop) []Transport { return base.Members[Transport](l) }
