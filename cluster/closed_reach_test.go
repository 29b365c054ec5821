package cluster

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/internal/subject"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// taken is a client of its own with the keys of a node, as whoever took them over has.
type taken struct {
	*nats.Conn
	t    *testing.T
	self *subject.Space

	mu      sync.Mutex
	refused map[string]bool // subjects the server did not let it use
}

func takeOver(t *testing.T, dir, node string, at *Node) *taken {
	t.Helper()
	id, err := keys.Load(dir, node)
	if err != nil {
		t.Fatal(err)
	}
	c := &taken{t: t, self: subject.New("loopmesh", node, 33, id.Grants.Token()), refused: map[string]bool{}}
	c.Conn, err = nats.Connect(hostOf(t, at), nats.UserJWT(func() (string, error) { return id.Statement, nil }, id.Sign),
		nats.Secure(keys.ClientTLS(func() *keys.Identity { return id })), nats.CustomInboxPrefix(c.self.Inbox),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.note(err) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (c *taken) note(err error) {
	_, quoted, _ := strings.Cut(err.Error(), `"`)
	name, _, _ := strings.Cut(quoted, `"`)
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.refused[name] = true
	}
}

// allowed are those of subjects that the server did not refuse. The last one sent was one
// that it surely refuses, and refusals come in order.
func (c *taken) allowed(subjects []string) (out []string) {
	c.t.Helper()
	last := "nobody.may." + nats.NewInbox()
	if err := c.Publish(last, nil); err != nil {
		c.t.Fatal(err)
	}
	until(c.t, "the server has answered", func() bool { return c.took(last) })
	for _, s := range subjects {
		if !c.took(s) {
			out = append(out, s)
		}
	}
	return out
}

func (c *taken) took(subject string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused[subject]
}

// TestWhatKeysLetAClientReach uses the keys of nodes with code of its own. What is not
// a node's own business is refused by the server.
func TestWhatKeysLetAClientReach(t *testing.T) {
	dir := keyFolder(t, keys.Node{Name: "n1", Voter: true, Hosts: []string{"127.0.0.1"}}, keys.Node{Name: "n2"}, keys.Node{Name: "n3"}, keys.Node{Name: "n4", Grants: []string{"none"}})
	n1 := start(t, Config{Name: "n1", Keys: dir, Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	n2 := start(t, Config{Name: "n2", Keys: dir, Join: []string{hostOf(t, n1)}})
	ctx := testCtx(t)
	maker, err := n1.engine.JetStream(ctx)
	if err != nil {
		t.Fatal("a node with a server:", err)
	}
	stream, work := subject.Streams("loopmesh")
	until(t, "a voter makes the stream when it starts", func() bool { _, err := maker.Stream(ctx, stream); return err == nil })
	js, err := n2.engine.JetStream(ctx)
	if err != nil {
		t.Fatal("a node without a server:", err)
	}
	if _, err := js.Publish(ctx, "loopmesh.rec.own.db", []byte("n2")); err != nil {
		t.Error("a record:", err)
	}
	if m, err := maker.Stream(ctx, stream); err != nil {
		t.Error(err)
	} else if r, err := m.GetLastMsgForSubject(ctx, "loopmesh.rec.own.db"); err != nil || string(r.Data) != "n2" {
		t.Error("reading it:", r, err)
	}

	for _, name := range []string{"n3", "n4"} {
		c := takeOver(t, dir, name, n1)
		other := n2.engine.Subjects
		subjects := []string{
			">", "loopmesh.>", "_INBOX.>", "$SYS.>", "$SYS.ACCOUNT.>", "$SYS.REQ.>", "$JS.>", "loopmesh.to.>", "loopmesh.rec.>",
			other.Frames, other.Life, other.Bytes, other.Names, other.Inbox + ".>", "loopmesh.name.*.*",
		}
		for _, s := range subjects {
			if _, err := c.SubscribeSync(s); err != nil {
				t.Fatal(err)
			}
		}
		if may := c.allowed(subjects); len(may) != 0 {
			t.Errorf("%s may subscribe %q", name, may)
		}
		publishes := []string{
			other.To("n1", n1.number), other.BulkTo("n1", n1.number), other.Alive, other.Engine, other.Name("n1"),
			other.Reply + "w-1", "loopmesh.to.n1." + fmt.Sprint(n1.number) + "." + name + ".xYWRtaW4", // rights it was not given
			"loopmesh.rec.lease.n2", "loopmesh.rec.", "loopmesh.rec.else.x",
			"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.USER.INFO", "$SYS.REQ.CLAIMS.UPDATE", "$JS.API.META.LEADER.STEPDOWN",
			"$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.NAMES." + stream, "$JS.API.CONSUMER.LIST." + stream,
			"$JS.API.CONSUMER.PAUSE." + stream + ".x", "$JS.API.CONSUMER.DURABLE.CREATE." + stream + ".x", "$JS.API.DIRECT.GET." + stream,
			"$JS.API.STREAM.CREATE.KV_x", "$JS.API.STREAM.CREATE." + stream, "$JS.API.STREAM.CREATE." + work, "$JS.API.STREAM.TEMPLATE.CREATE.x", "$JS.API.ACCOUNT.PURGE.x",
		}
		for _, verb := range []string{"UPDATE", "DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN", "PEER.REMOVE"} {
			publishes = append(publishes, "$JS.API.STREAM."+verb+"."+stream)
		}
		for _, s := range publishes {
			if err := c.Publish(s, []byte(`{"name":"x"}`)); err != nil {
				t.Fatal(err)
			}
		}
		if may := c.allowed(publishes); len(may) != 0 {
			t.Errorf("%s may publish to %q", name, may)
		}
	}

	t.Run("an answer of JetStream under the subject of another is no frame", func(t *testing.T) {
		c := takeOver(t, dir, "n3", n1)
		cast := &wire.Frame{Kind: wire.Goodbye, From: "n2", FromNumber: n2.number}
		if err := c.Publish("loopmesh.rec.own.x", cast.Append(nil)); err != nil {
			t.Fatal(err)
		}
		before := n1.Stats().Malformed
		to := n2.engine.Subjects.To("n1", n1.number)
		for _, ask := range [][2]string{
			{"$JS.API.STREAM.MSG.GET." + stream, `{"last_by_subj":"loopmesh.rec.own.x"}`},
			{"$JS.API.INFO", ""},
			{"$JS.API.CONSUMER.CREATE." + stream + ".push", `{"stream_name":"` + stream + `","config":{"name":"push","deliver_subject":"` + to + `","deliver_policy":"all","ack_policy":"none"}}`},
		} {
			if err := c.PublishRequest(ask[0], to, []byte(ask[1])); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "all are counted", func() bool { return n1.Stats().Malformed >= before+3 })
		if len(n1.Members()) != 2 {
			t.Error("a forged goodbye counts: ", n1.Members())
		}
	})
}
