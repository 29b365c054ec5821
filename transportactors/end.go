package transportactors

func (c *conn) Close() {
	if c.closing {
		return
	}
	c.closing = true
	if c.queue.size == 0 {
		c.lose(nil)
		return
	}
	c.interest()
}

func (c *conn) drop() { c.queue.drop() }

func (c *conn) gone() {
	if c.server != nil {
		c.server.gone(c)
	}
}
