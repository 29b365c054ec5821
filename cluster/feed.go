package cluster

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The server's own notices that a client of an account has gone, for whatever
// reason. It sends one within a millisecond or two of a SIGKILL.
const (
	noticesOfAll = "$SYS.ACCOUNT.*.DISCONNECT"
	noticesHere  = "$SYS.ACCOUNT.$G.DISCONNECT" // of the account all clients of an embedded server are in
)

// shareNotices lets the clients of the embedded server hear when one of them has
// gone. Why an import: notices belong to the system account; a client of that
// account could read and command much more than this.
func (e *embedded) shareNotices() error {
	system, clients := e.server.SystemAccount(), e.server.GlobalAccount()
	if err := system.AddStreamExport(noticesHere, []*server.Account{clients}); err != nil {
		return fmt.Errorf("embedded NATS server: sharing its notices: %w", err)
	}
	if err := clients.AddStreamImport(system, noticesHere, ""); err != nil {
		return fmt.Errorf("embedded NATS server: sharing its notices: %w", err)
	}
	return nil
}

// connectionName is what the server calls the node's connection in its notices.
func (n *Node) connectionName() string { return fmt.Sprintf("%s#%x", n.name, n.number) }

// noticed handles the server's notice that a client has gone. It is a reason to
// ask, no evidence: anybody may have published it, and the node may be back.
func (n *Node) noticed(m *nats.Msg) {
	n.notices.Store(true)
	var notice struct {
		Client struct {
			Name string `json:"name"`
		} `json:"client"`
	}
	if json.Unmarshal(m.Data, &notice) != nil {
		return // not of a server
	}
	name, text, ok := strings.Cut(notice.Client.Name, "#")
	number, err := strconv.ParseUint(text, 16, 64)
	if !ok || err != nil {
		return // no node
	}
	if member, known := n.members.find(name); known && member.number == number {
		n.ask(name)
	}
}
