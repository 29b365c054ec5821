// Command embed is an ordinary web program whose state is in actors on two
// loops: no lock, and a fault costs one life of one actor.
//
//	go run ./examples/embed 127.0.0.1:8080
//	curl -d 5 127.0.0.1:8080/alice       # deposits 5
//	curl -d five 127.0.0.1:8080/alice    # a fault: alice's actor gets a new life
//	curl -d 2 127.0.0.1:8080/alice       # the total has outlived it
//	curl -X DELETE 127.0.0.1:8080/alice  # ends it; the clerk, who watches, notes it
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
)

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt)
	if err := run(ctx, append(os.Args, "127.0.0.1:8080")[1], os.Stdout); err != nil {
		log.Fatalln("embed:", err)
	}
}

type deposit struct{ name, text string } // to the clerk, who hands it on to the account
type end struct{ name string }           // to the clerk
type entry struct {                      // to the ledger, which answers the total
	name   string
	amount int
}

// newLedger lives on a loop of its own and never fails.
func newLedger() actors.Actor {
	totals := map[string]int{}
	return actors.Func(func(ctx *actors.Context) {
		if e, ok := ctx.Message().(entry); ok {
			totals[e.name] += e.amount
			_ = ctx.Reply(totals[e.name])
		}
	})
}

// newAccount is called for each life, so a life begins with no deposits.
func newAccount(ledger actors.Ref) actors.Actor {
	deposits := 0
	return actors.Func(func(ctx *actors.Context) {
		m, ok := ctx.Message().(deposit)
		amount, err := strconv.Atoi(m.text)
		switch {
		case !ok:
			return // a hook
		case err != nil:
			panic(err) // the end of this life, and an error for whoever asked
		}
		deposits++
		client := ctx.Sender()
		// Nobody waits: the answer of the other loop comes in a later turn.
		ctx.Ask(ledger, entry{m.name, amount}, time.Second, func(total any, err error) {
			var answer any = fmt.Sprintf("%s has %d after %d deposits in this life\n", m.name, total, deposits)
			if err != nil {
				answer = actors.Refusal{Err: err}
			}
			_ = ctx.Send(client, answer)
		})
	})
}

// newClerk opens accounts when they are asked for, supervises and watches them.
func newClerk(ledger actors.Ref, out io.Writer) actors.Actor {
	accounts := map[string]actors.Ref{}
	return actors.Func(func(ctx *actors.Context) {
		switch m := ctx.Message().(type) {
		case deposit:
			if _, ok := accounts[m.name]; !ok {
				ref, err := ctx.Spawn(m.name, func() actors.Actor { return newAccount(ledger) })
				if err != nil {
					_ = ctx.ReplyError(err)
					return
				}
				accounts[m.name] = ref
				ctx.Watch(ref)
			}
			_ = ctx.Forward(accounts[m.name]) // the answer goes to whoever asked
		case end:
			ctx.Stop(accounts[m.name])
			_ = ctx.Reply("ending " + m.name + "\n")
		case actors.Terminated:
			name := path.Base(m.Who.Address().Path)
			delete(accounts, name)
			fmt.Fprintf(out, "%s ended: %v\n", name, m.Reason)
		}
	})
}

// run serves until ctx ends. Each request is a goroutine that asks an actor.
func run(ctx context.Context, at string, out io.Writer) error {
	system, err := actors.New(actors.Options{})
	if err != nil {
		return err
	}
	var homes [2]*loopnode.Loop
	for i, name := range []string{"front", "books"} {
		l, err := loopnode.New(loopnode.Config{Name: name})
		if err != nil {
			return err
		}
		over := make(chan error, 1)
		// goroutine: owner: run; ends when run returns
		go func() { over <- l.RunForever() }()
		defer func() { _ = errors.Join(l.Ref().Stop(), <-over, l.Close()) }()
		homes[i] = l
	}
	defer func() { _ = system.Shutdown(context.Background()) }()             // while the loops run
	again := actors.WithChildren(actors.Strategy{Restart: actors.Transient}) // who fails gets a new life
	ledger, err1 := system.Spawn(homes[1], "ledger", newLedger)
	clerk, err2 := system.Spawn(homes[0], "clerk", func() actors.Actor { return newClerk(ledger, out) }, again)
	l, err3 := net.Listen("tcp", at)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	handle := func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		text, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, 64)) // what is cut off is no number either
		var msg any = deposit{name, string(text)}
		if r.Method == http.MethodDelete {
			msg = end{name}
		}
		answer, err := system.Ask(r.Context(), clerk, msg)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		} else {
			fmt.Fprint(w, answer)
		}
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	fmt.Fprintln(out, "on", l.Addr())
	if err := http.Serve(l, http.HandlerFunc(handle)); ctx.Err() == nil {
		return err
	}
	return nil
}
