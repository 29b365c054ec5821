package netscripts

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"
)

// peer is the other end of a connection: plain net, a goroutine that writes and one
// that reads.
type peer struct {
	s         *script
	raw       net.Conn
	conn      net.Conn // raw, or TLS on it
	in        flow
	sent      int
	sendErr   error // of a write
	recvErr   error // of reading, not the end
	recvFault error
}

// talk does the steps and returns when the connection has ended.
func (p *peer) talk(config *tls.Config) error {
	defer p.raw.Close()
	if err := p.raw.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	p.conn = p.raw
	if p.s.tls {
		c := tls.Client(p.raw, config)
		if !p.s.server {
			c = tls.Server(p.raw, config)
		}
		if err := c.Handshake(); err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
		p.conn = c
	}
	read := make(chan struct{})
	// goroutine: owner: talk; ends with the connection, which talk waits for
	go func() {
		defer close(read)
		p.read()
	}()
	p.write()
	switch last(p.s.theirs) {
	case reset:
		if c, ok := p.raw.(*net.TCPConn); ok {
			_ = c.SetLinger(0)
		}
		_ = p.raw.Close()
	case closeIt:
		_ = p.conn.Close()
	case endOutput:
		if c, ok := p.conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}
	<-read
	_ = p.conn.Close()
	return p.recvFault
}

func (p *peer) write() {
	var out flow
	for _, st := range p.s.theirs {
		switch st.do {
		case nap:
			<-time.After(time.Duration(st.n) * 100 * time.Microsecond) // the script says so: nothing waits for it
		case write:
			n, err := p.conn.Write(out.next(st.n))
			p.sent += n
			if err != nil {
				p.sendErr = err
				return
			}
		}
	}
}

func (p *peer) read() {
	b := make([]byte, 16<<10)
	for i := 1; ; i++ {
		n, err := p.conn.Read(b)
		at := p.in.at
		if n > 0 && !bytes.Equal(b[:n], p.in.next(n)) {
			p.recvFault = fmt.Errorf("the other end got wrong bytes at %d of %d", at, n)
			return
		}
		if err != nil {
			if err != io.EOF {
				p.recvErr = err
			}
			return
		}
		if p.s.slow > 0 && i%p.s.slow == 0 {
			<-time.After(200 * time.Microsecond) // a slow reader
		}
	}
}

// verdict compares what came with what the transport has taken.
func (p *peer) verdict(taken, written int) error {
	switch {
	case p.in.at > written:
		return fmt.Errorf("the other end got %d bytes of %d", p.in.at, written)
	case p.s.outputArrives() && (p.in.at < taken || p.recvErr != nil):
		return fmt.Errorf("the other end got %d bytes of %d, then %v", p.in.at, taken, p.recvErr)
	case p.s.inputArrives() && p.sendErr != nil:
		return fmt.Errorf("the other end could not send: %w", p.sendErr)
	}
	return nil
}
