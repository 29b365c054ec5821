package actors

import "github.com/loopmesh/loopmesh/internal/guard"

// Panic is what user code threw, as an error: find it with errors.As and a
// *Panic. Value is what was thrown, Stack the place, as text.
type Panic = guard.Panic
