package engine

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/internal/subject"
)

// listen subscribes to the server's notices. A server that does not share them
// refuses the subscription, which is heard of later, or delivers none.
func (e *Engine) listen() error {
	for what, tell := range map[string]func(string, uint64){"CONNECT": e.cfg.Events.Came, "DISCONNECT": e.cfg.Events.Gone} {
		if tell == nil {
			continue
		}
		if err := e.notices.Subscribe(subject.Notices("*", what), func(m *nats.Msg) { e.notice(m.Data, tell) }); err != nil {
			return fmt.Errorf("the server's notices: %w", err)
		}
	}
	return nil
}

// notice reads which node a notice is about: the name of its control connection.
func (e *Engine) notice(data []byte, tell func(string, uint64)) {
	var n struct {
		Client struct {
			Name string `json:"name"`
		} `json:"client"`
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
	tell(name, number)
}

// Noticed reports whether the server tells who goes. Where it does not, the death
// of a node has to be found out by asking it.
func (e *Engine) Noticed() bool { return e.shared() != nil || e.noticed.Load() }
