package engine

import "time"

// warnAgain is how often an open port is complained about.
const warnAgain = time.Hour

// exposed are the addresses beyond loopback on which the node listens.
func (c *Config) exposed() (out []string) {
	if host, _, err := c.listenAddress(); err == nil && c.Listen != "" && !isLoopback(host) {
		out = append(out, c.Listen)
	}
	if own, err := c.ownRoute(); err == nil && own != "" {
		if host, _, _ := hostPort(own); !isLoopback(host) {
			out = append(out, own)
		}
	}
	return out
}

// checkExposure refuses to listen beyond loopback without keys: whoever reaches
// the port of such a server can call every function, stop every loop, and answer in
// the name of every node.
func (c *Config) checkExposure() error {
	open := c.exposed()
	if len(open) == 0 || c.Keys != "" || c.Insecure {
		return nil
	}
	return badConfig("%v can be reached from other machines, and without keys everybody there could run everything on this node: "+
		"make keys ('loopmesh keys init DIR') and set Keys (--keys), listen on 127.0.0.1, or say Insecure (--insecure) on a network you trust wholly", open)
}

// warnExposed reminds of an open port.
func (e *Engine) warnExposed() {
	if open := e.cfg.exposed(); len(open) > 0 && e.cfg.Insecure {
		e.log.Warn("this node is open to everybody who reaches it: anyone can call, stop and impersonate (Insecure, --insecure)", "listens", open)
	}
}
