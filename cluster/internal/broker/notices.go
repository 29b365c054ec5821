package broker

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// The server's own notices that a client of an account has gone, for whatever
// reason. It sends one within a millisecond or two of a SIGKILL.
const (
	// Notices is the subject to subscribe.
	Notices     = "$SYS.ACCOUNT.*.DISCONNECT"
	noticesHere = "$SYS.ACCOUNT.$G.DISCONNECT" // of the account all clients of an embedded server are in
)

// shareNotices lets the clients of the embedded server hear when one of them has
// gone. Why an import: notices belong to the system account; a client of that
// account could read and command much more than this.
func (e *Server) shareNotices() error {
	system, clients := e.server.SystemAccount(), e.server.GlobalAccount()
	if err := system.AddStreamExport(noticesHere, []*server.Account{clients}); err != nil {
		return fmt.Errorf("embedded NATS server: sharing its notices: %w", err)
	}
	if err := clients.AddStreamImport(system, noticesHere, ""); err != nil {
		return fmt.Errorf("embedded NATS server: sharing its notices: %w", err)
	}
	return nil
}
