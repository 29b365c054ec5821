package looptest

import (
	"github.com/loopmesh/loopmesh/internal/poller"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Token makes a token for a loopnode.Backend of your own, which its Add returns.
// Token.Slot gives the number back; tokens of one number are equal.
func Token(slot int) loopnode.Token { return poller.MakeToken(slot) }
