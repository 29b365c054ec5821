package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// gateway is the state of the loop: all tasks share it without a lock.
type gateway struct {
	cfg     config
	out     io.Writer
	devices map[string]transportactors.Transport
	conns   int
	lines   int
	refused int
}

// tick prints what there is, again and again.
func (g *gateway) tick(l *loopnode.Loop) {
	l.CallLater(g.cfg.stats, func() {
		waiting := transportactors.StatsOf(l).Output
		fmt.Fprintf(g.out, "%d connections, %d devices, %d lines, %d refused, %d bytes wait\n", g.conns, len(g.devices), g.lines, g.refused, waiting)
		g.tick(l)
	})
}

// serve is the task of one connection.
func (g *gateway) serve(_ context.Context, s *transportactors.Stream) error {
	if g.conns >= g.cfg.most {
		g.refused++
		_, err := io.WriteString(s, "! too many connections\n")
		return err
	}
	g.conns++
	defer func() { g.conns-- }()
	name := ""
	defer func() { delete(g.devices, name) }()
	for {
		line, err := s.ReadLine()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, loopnode.ErrCancelled):
			return err
		case err != nil: // silent for too long, a line too long, or lost
			fmt.Fprintf(g.out, "%s %v: %v\n", name, s.Transport().RemoteAddr(), err)
			return nil
		}
		g.lines++
		if _, err := io.WriteString(s, g.obey(s.Transport(), &name, strings.TrimRight(string(line), "\r\n"))); err != nil {
			return err
		}
	}
}

// obey does what a line says and gives the answer.
func (g *gateway) obey(from transportactors.Transport, name *string, line string) string {
	verb, rest, _ := strings.Cut(line, " ")
	switch {
	case verb == "ID" && rest != "" && g.devices[rest] == nil && *name == "":
		*name, g.devices[rest] = rest, from
		return "+ hello " + rest + "\n"
	case verb == "TO" && *name != "":
		to, text, _ := strings.Cut(rest, " ")
		d := g.devices[to]
		switch {
		case d == nil:
			return "! no device " + to + "\n"
		case d.WriteBufferSize() > 0: // it reads too slowly: nobody waits for it
			return "! " + to + " is busy\n"
		}
		_ = d.Write([]byte(*name + " " + text + "\n"))
		return "+\n"
	}
	return "! ID NAME, once and with a name of your own, then TO NAME TEXT\n"
}
