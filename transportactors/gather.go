package transportactors

// gatherMost is how many gathered bytes do not wait for the end of the turn.
const gatherMost = 64 << 10

// With Socket.SetWriteGathering a write goes into the queue although the kernel was not
// asked, and the connection is gathering until sendGathered asks it, in the next turn.
// Invariant: while gathering, sendGathered is in the ready queue of the loop and the
// poller does not watch for room.

// gathered queues what the connection may keep for a moment; the bytes are in the queue.
func (c *conn) gathered() {
	if !c.gathering {
		c.gathering = true
		if c.socket.before == nil {
			c.socket.before = c.sendGathered
		}
		c.loop.CallSoon(c.socket.before)
	}
	if c.queue.size >= min(gatherMost, c.high+1) {
		c.sendGathered()
	}
}

// sendGathered ends gathering: the kernel takes what it takes, the rest waits for room.
func (c *conn) sendGathered() {
	if !c.gathering {
		return
	}
	c.gathering = false
	if c.state >= stateLosing || c.queue.size == 0 {
		return
	}
	c.onWritable()
	c.updateWatch()
	c.checkHigh()
}
