package base

import "github.com/loopmesh/loopmesh/actors"

// Ended tells the actor of a transport that the transport has ended, and why.
type Ended struct{ Reason error }

// Answer replies to an Ask with err, or with accepted when there is none; a
// plain message gets no reply.
func Answer(ctx *actors.Context, err error, accepted any) {
	switch {
	case !ctx.Asked():
	case err != nil:
		_ = ctx.ReplyError(err)
	default:
		_ = ctx.Reply(accepted) // the asker may be gone
	}
}
