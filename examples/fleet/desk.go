package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// desk answers POST /run/COMMAND?on=NODE,NODE&NAME=VALUE with the lines of the command, each
// behind the name of its node, and a line about the end of each node. When the client goes
// away, the commands end.
//
// A client that reads slowly is waited for: the board writes no more, nobody reads the
// outputs, and the commands stop in their writes. The desk holds at most a MiB for each.
type desk struct{ node *cluster.Node }

func (d *desk) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /run/{command}", d.run)
	mux.HandleFunc("GET /nodes", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, strings.Join(d.agents(), "\n")) })
	return http.NewCrossOriginProtection().Handler(mux) // no page of another site starts anything
}

// agents are the other nodes, by name.
func (d *desk) agents() (names []string) {
	for _, m := range d.node.Members() {
		if !m.Self {
			names = append(names, m.Name)
		}
	}
	return names
}

func (d *desk) run(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		http.Error(w, "the arguments cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	on, args := d.agents(), map[string]string{}
	for name, values := range query {
		if name == "on" {
			on = strings.Split(values[0], ",")
		} else {
			args[name] = values[0]
		}
	}
	slices.Sort(on)
	b := &board{out: w, flush: http.NewResponseController(w).Flush}
	var work sync.WaitGroup
	for _, name := range slices.Compact(on) {
		// goroutine: owner: run, which waits for it; ends with the command, or with the client
		work.Go(func() {
			how, err := d.one(r.Context(), process.Command{Node: name, Profile: r.PathValue("command"), Args: args, NoStdin: true}, b)
			if err != nil {
				how = "failed: " + err.Error()
				b.failed.Store(name, true)
			}
			b.say(name, "== "+how)
		})
	}
	work.Wait()
	failed := 0
	b.failed.Range(func(any, any) bool { failed++; return true })
	b.say("desk", fmt.Sprintf("== %d nodes, %d failed", len(slices.Compact(on)), failed))
}

// one runs a command on one node and says its lines, until it ends or ctx does.
func (d *desk) one(ctx context.Context, c process.Command, b *board) (how string, err error) {
	p, err := process.Start(ctx, d.node, c)
	if err != nil {
		return "", err
	}
	defer p.Close()
	stop := context.AfterFunc(ctx, p.Close)
	defer stop()
	var outputs sync.WaitGroup
	for _, o := range []*process.Output{p.Stdout(), p.Stderr()} {
		// goroutine: owner: one, which waits for it; ends with the output, or with ctx
		outputs.Go(func() {
			if err := b.lines(c.Node, o.Reader(ctx)); err != nil {
				p.Close() // nobody sees the rest
			}
		})
	}
	outputs.Wait()
	exit, err := p.Wait(ctx)
	if err == nil && exit.Code != 0 {
		err = errors.New(exit.String())
	}
	return exit.String(), err
}

// board is the answer, which all nodes write to: whole lines only.
type board struct {
	mu     sync.Mutex
	out    io.Writer
	flush  func() error
	failed sync.Map // names of nodes
}

// lines says the lines of an output. Those above 64 KiB come in pieces.
func (b *board) lines(node string, in io.Reader) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for {
		line, _, err := r.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = b.say(node, string(line))
		}
		if err != nil {
			return err
		}
	}
}

func (b *board) say(node, line string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := fmt.Fprintf(b.out, "%s: %s\n", node, line)
	if err == nil {
		err = b.flush()
	}
	return err
}
