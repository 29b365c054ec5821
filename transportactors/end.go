package transportactors

func (c *conn) Close() {
	if c.checkGoroutine("Close") != nil {
		return
	}
	c.lastInputEnded()
	if c.state >= stateClosing {
		return
	}
	c.enter(stateClosing)
	c.target.refuse(ErrClosed)
	if c.queue.size == 0 {
		c.lose(nil)
		return
	}
	c.updateWatch()
}

func (c *conn) Abort() {
	if c.checkGoroutine("Abort") == nil {
		c.lastInputEnded()
		c.Fail(nil)
	}
}

func (c *conn) drop() {
	c.idle.stop()
	c.first.came()
	c.dropLastInput()
	c.queue.drop()
	c.fileLost()
}

func (c *conn) gone() {
	if c.accepted != nil {
		c.accepted.connEnded(c)
	}
}
