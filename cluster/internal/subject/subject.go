// Package subject is the layout of the NATS subjects of a cluster. The package is
// pure: it builds and splits strings.
//
// The layout carries the identity of the sender. A server with accounts lets a
// node publish only under subjects that end in its own name and its own rights,
// so whoever receives a message can believe both:
//
//	<cluster>.to.<receiver>.<sender>.<rights>    frames: calls, answers, messages, watches
//	<cluster>.bulk.<receiver>.<sender>.<rights>  bytes of streams, on a connection of their own
//	<cluster>.members.<sender>                   signs of life, read by every node
//	<cluster>.to.<node>.<node>.r.<token>         NATS's own answer "nobody is there"
//	<cluster>.inbox.<node>.<token>               answers to requests of a node that starts
//	<cluster>.engine.<sender>                    servers to each other and to their clients
//
// Without keys the server does not know who publishes. The layout is the same,
// and nobody may believe it.
package subject

import "strings"

// Space is the subjects of one cluster as one node uses them. Its fields do not
// change.
type Space struct {
	cluster, node, rights string

	Frames  string // pattern of what other nodes send to this one, and of "nobody is there"
	Bulk    string // pattern of the bytes other nodes send to this one
	Members string // pattern of all signs of life
	Alive   string // where this node's signs of life go
	Reply   string // prefix of reply subjects: behind it comes a token
	Inbox   string // prefix of the answers to requests, without a dot at its end
	Engines string // pattern of what servers say
	Engine  string // where this node's engine speaks
}

// New makes the subjects of a node. rights is one token, see package keys.
func New(cluster, node, rights string) *Space {
	own := cluster + ".to." + node
	return &Space{
		cluster: cluster, node: node, rights: rights,
		Frames: own + ".>", Bulk: cluster + ".bulk." + node + ".>",
		Members: cluster + ".members.*", Alive: cluster + ".members." + node,
		Reply: own + "." + node + ".r.", Inbox: cluster + ".inbox." + node,
		Engines: cluster + ".engine.*", Engine: cluster + ".engine." + node,
	}
}

// To is where frames for a node go.
func (s *Space) To(node string) string { return s.join(".to.", node) }

// BulkTo is where bytes for a node go.
func (s *Space) BulkTo(node string) string { return s.join(".bulk.", node) }

func (s *Space) join(kind, node string) string {
	var b strings.Builder
	b.Grow(len(s.cluster) + len(kind) + len(node) + len(s.node) + len(s.rights) + 2)
	for _, part := range []string{s.cluster, kind, node, ".", s.node, ".", s.rights} {
		b.WriteString(part)
	}
	return b.String()
}

// Publish are the patterns a node may publish to.
func (s *Space) Publish() []string {
	return []string{s.To("*"), s.BulkTo("*"), s.Alive, s.Engine, s.cluster + ".inbox.>"}
}

// Subscribe are the patterns a node may subscribe to. The last two are the
// server's notices of clients that come and go.
func (s *Space) Subscribe() []string {
	return []string{s.Frames, s.Bulk, s.Members, s.Engines, s.Inbox + ".>", Notices("*", "CONNECT"), Notices("*", "DISCONNECT")}
}

// Notices is where a server tells that a client of an account has come (CONNECT)
// or gone (DISCONNECT).
func Notices(account, what string) string { return "$SYS.ACCOUNT." + account + "." + what }

// Sender splits a subject of Frames, Bulk, Members or Engines. rights is "" where
// the subject has none. ok is false for everything else, also for an answer of
// NATS, see Token.
func (s *Space) Sender(subject string) (name, rights string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.cluster+".")
	if !ok {
		return "", "", false
	}
	kind, rest, _ := strings.Cut(rest, ".")
	switch kind {
	case "members", "engine":
		return rest, "", rest != "" && !strings.Contains(rest, ".")
	case "to", "bulk":
		_, rest, _ = strings.Cut(rest, ".")
		name, rights, _ = strings.Cut(rest, ".")
		return name, rights, name != "" && rights != "" && !strings.Contains(rights, ".")
	}
	return "", "", false
}

// Token is what stands behind Reply; false when the subject is another one.
func (s *Space) Token(subject string) (string, bool) { return strings.CutPrefix(subject, s.Reply) }
