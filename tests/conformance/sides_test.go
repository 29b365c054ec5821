package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// party is who told what; see golden/sides.py. Owned by the loop's goroutine.
type party struct {
	name  string
	lines []string
	bytes []byte // of the last line, when that is data
	news  *loopnode.Future[struct{}]
}

func (p *party) say(words ...any) {
	p.add(strings.TrimSuffix(fmt.Sprintln(words...), "\n"))
	p.bytes = nil
}

// data tells bytes; pieces that follow each other count as one.
func (p *party) data(b []byte) {
	if p.bytes != nil {
		p.lines = p.lines[:len(p.lines)-1]
	}
	p.bytes = append(p.bytes, b...)
	if len(p.bytes) <= 40 {
		p.add("data " + string(p.bytes))
		return
	}
	p.add(fmt.Sprintf("data of %d bytes", len(p.bytes)))
}

func (p *party) add(line string) {
	p.lines = append(p.lines, line)
	if p.news != nil && !p.news.Done() {
		_ = p.news.SetResult(struct{}{})
	}
}

func (p *party) has(line string) bool { return slices.Contains(p.lines, line) }

func (p *party) count(line string) int {
	n := 0
	for _, l := range p.lines {
		if l == line {
			n++
		}
	}
	return n
}

// until waits until the party has told the line.
func (p *party) until(ctx context.Context, line string) error {
	for !p.has(line) {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		p.news = loopnode.NewFuture[struct{}](l)
		if _, err := p.news.Await(ctx); err != nil {
			return fmt.Errorf("%s never told %q, but %q: %w", p.name, line, p.lines, err)
		}
	}
	return nil
}

// bare takes the sizes out of the data lines: they depend on the kernel.
func (p *party) bare() {
	for i, line := range p.lines {
		if strings.HasPrefix(line, "data") {
			p.lines[i] = "data"
		}
	}
}

// untilLost waits until all of them have heard the good end.
func untilLost(ctx context.Context, ps ...*party) error {
	for _, p := range ps {
		if err := p.until(ctx, "connection_lost None"); err != nil {
			return err
		}
	}
	return nil
}

// tell tells a part of a scenario, one party after the other.
func tell(say func(...any), part string, ps ...*party) {
	say("--", part)
	for _, p := range ps {
		for _, line := range p.lines {
			say(p.name+":", line)
		}
	}
}

// side is one end of a connection: golden/sides.py's Side.
type side struct {
	*party
	t    transportactors.Transport
	keep bool
	made func(s *side)
	read func(s *side, b []byte)
}

func (s *side) ConnectionMade(t transportactors.Transport) {
	s.t = t
	s.say("connection_made")
	if s.made != nil {
		s.made(s)
	}
}

func (s *side) DataReceived(b []byte) {
	s.data(b)
	if s.read != nil {
		s.read(s, b)
	}
}

func (s *side) EOFReceived() bool {
	s.say("eof_received")
	return s.keep
}

func (s *side) ConnectionLost(reason error) { s.say("connection_lost", why(reason)) }
func (s *side) PauseWriting()               { s.say("pause_writing") }
func (s *side) ResumeWriting()              { s.say("resume_writing") }

func upper(s *side, b []byte) { _ = s.t.Write(bytes.ToUpper(b)) }

// ends are two sides with their parties.
func ends() (server, client *side) {
	return &side{party: &party{name: "server"}}, &side{party: &party{name: "client"}}
}

func listen(ctx context.Context, p transportactors.Protocol, opts ...transportactors.ServerOption) (*transportactors.Server, string, error) {
	s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return p }, "tcp", "127.0.0.1:0", opts...)
	if err != nil {
		return nil, "", err
	}
	return s, s.Addrs()[0].String(), nil
}

func dial(ctx context.Context, client *side, address string, opts ...transportactors.ConnectOption) error {
	_, _, err := transportactors.CreateConnection(ctx, func() *side { return client }, "tcp", address, opts...)
	return err
}

// pair connects two sides.
func pair(ctx context.Context, server, client *side, opts ...transportactors.ServerOption) error {
	s, address, err := listen(ctx, server, opts...)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := dial(ctx, client, address); err != nil {
		return err
	}
	return server.until(ctx, "connection_made")
}

// shown is the end of an address that a transport is asked for.
func shown(t transportactors.Transport, name string) string {
	address, _ := t.ExtraInfo(name).(net.Addr)
	return address.String()
}

// sideParts runs the parts of a scenario between sides.
func sideParts(t *testing.T, say func(...any), all ...func(ctx context.Context, say func(...any)) error) {
	t.Helper()
	inTask(t, func(ctx context.Context, _ *loopnode.Loop) error {
		for _, part := range all {
			if err := part(ctx, say); err != nil {
				return err
			}
		}
		return nil
	})
}

// refused says the words when err is the refusal.
func refused(p *party, err, refusal error, words ...any) {
	if errors.Is(err, refusal) {
		p.say(words...)
	}
}

// without takes lines out that depend on the kernel.
func (p *party) without(lines ...string) {
	p.lines = slices.DeleteFunc(p.lines, func(l string) bool { return slices.Contains(lines, l) })
}
