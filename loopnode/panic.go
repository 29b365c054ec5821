package loopnode

import "github.com/loopmesh/loopmesh/actors"

// Panic is what a callback, a task or a protocol threw, as the error that the
// exception handler, Await and ConnectionLost get: errors.As(err, &p) with a
// *Panic gives the value and the stack it was thrown from. When the value was an
// error, errors.Is and errors.As see it, too.
type Panic = actors.Panic
