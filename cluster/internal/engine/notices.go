package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/internal/subject"
)

// listen subscribes to the server's notices. A server that does not share them
// refuses the subscription, which is heard of later, or delivers none. It waits until
// the server has the subscriptions, or noticesWait: a node that comes right after this
// one, over another connection, would not be told of otherwise.
func (e *Engine) listen(ctx context.Context) error {
	tells := map[string]func(string, uint64, string){}
	if came := e.cfg.Events.Came; came != nil {
		tells["CONNECT"] = func(node string, number uint64, _ string) { came(node, number) }
	}
	if gone := e.cfg.Events.Gone; gone != nil {
		tells["DISCONNECT"] = func(node string, number uint64, reason string) { gone(node, number, closedByProcess(reason)) }
	}
	for what, tell := range tells {
		if err := e.notices.Subscribe(subject.Notices("*", what), func(m *nats.Msg) { e.notice(m.Data, tell) }); err != nil {
			return fmt.Errorf("the server's notices: %w", err)
		}
	}
	limited, cancel := context.WithTimeout(ctx, noticesWait)
	defer cancel()
	if _, err := e.notices.Ask(limited); err != nil && ctx.Err() != nil {
		return fmt.Errorf("the server's notices: %w", context.Cause(ctx))
	}
	return nil // a server that is slow, or away, has them when it is back
}

const noticesWait = 5 * time.Second

// notice reads which node a notice is about: the name of its control connection.
func (e *Engine) notice(data []byte, tell func(string, uint64, string)) {
	var n struct {
		Client struct {
			Name string `json:"name"`
		} `json:"client"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(data, &n) != nil {
		return // not of a server
	}
	e.noticed.Store(true)
	name, text, ok := strings.Cut(n.Client.Name, "#")
	number, err := strconv.ParseUint(text, 16, 64)
	if !ok || err != nil || number == e.cfg.Number {
		return // no node, another connection of one, or this one
	}
	tell(name, number, n.Reason)
}

// closedByProcess reports whether a connection ended because its process ended it,
// as the kernel does for a killed one. In all other cases the server ended it, and
// the process, which may live, will connect again.
func closedByProcess(reason string) bool {
	switch reason {
	case "Client Closed", "Read Error", "Write Error":
		return true
	}
	return false
}

// Noticed reports whether the server tells who goes. Where it does not, the death
// of a node has to be found out by asking it.
func (e *Engine) Noticed() bool { return e.shared() != nil || e.noticed.Load() }
