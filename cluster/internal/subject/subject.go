// Package subject is the layout of the NATS subjects of a cluster. The package is
// pure: it builds and splits strings.
//
// The layout carries the identity of the sender. A server with accounts lets a
// node publish only under subjects that end in its own name and its own rights,
// so whoever receives a message can believe both:
//
//	<cluster>.to.<receiver>.<life>.<sender>.<rights>    frames: calls, answers, messages, watches
//	<cluster>.bulk.<receiver>.<life>.<sender>.<rights>  bytes of streams, on a connection of their own
//	<cluster>.topic.<topic>.<sender>.<rights>           what is published to who subscribes to the topic
//	<cluster>.to.<node>.<life>.<node>.r.<token>         NATS's own answer "nobody is there"
//	<cluster>.members.<sender>                          signs of life, read by every node
//	<cluster>.name.<node>.<sender>                      who has this name?
//	<cluster>.inbox.<node>.<token>                      answers to requests of a node that starts
//	<cluster>.engine.<sender>                           servers to each other and to their clients
//	<cluster>.rec.>, <cluster>.work.>                   what is durable, see package records
//
// A life is the receiver's incarnation in decimal.
//
// Invariant: a node subscribes the subject of its own life only, so two processes of
// one name never receive the same frame.
//
// Without keys the server does not know who publishes. The layout is the same,
// and nobody may believe it.
package subject

import (
	"strconv"
	"strings"
)

// Space is the subjects of one cluster as one node uses them. Its fields do not
// change.
type Space struct {
	cluster, node, rights string

	Frames  string // pattern of what may be sent to any life of this node
	Life    string // pattern of what other nodes send to this life, and of "nobody is there"
	Bulk    string // pattern of the bytes that may be sent to any life of this node
	Bytes   string // pattern of the bytes other nodes send to this life
	Members string // pattern of all signs of life
	Alive   string // where this node's signs of life go
	Reply   string // prefix of reply subjects: behind it comes a token
	Inbox   string // prefix of the answers to requests, without a dot at its end
	Engines string // pattern of what servers say
	Engine  string // where this node's engine speaks
	Names   string // pattern of questions who has this node's name
}

// New makes the subjects of a node and its incarnation. rights is one token, see
// package keys.
func New(cluster, node string, number uint64, rights string) *Space {
	own := cluster + ".to." + node
	life := own + "." + strconv.FormatUint(number, 10)
	return &Space{
		cluster: cluster, node: node, rights: rights,
		Frames: own + ".>", Life: life + ".>", Bulk: cluster + ".bulk." + node + ".>", Bytes: cluster + ".bulk." + node + "." + strconv.FormatUint(number, 10) + ".>", Names: cluster + ".name." + node + ".*",
		Members: cluster + ".members.*", Alive: cluster + ".members." + node,
		Reply: life + "." + node + ".r.", Inbox: cluster + ".inbox." + node,
		Engines: cluster + ".engine.*", Engine: cluster + ".engine." + node,
	}
}

// To is where frames for a life of a node go.
func (s *Space) To(node string, number uint64) string {
	return s.join(".to.", node, strconv.FormatUint(number, 10))
}

// BulkTo is where bytes for a life of a node go.
func (s *Space) BulkTo(node string, number uint64) string {
	return s.join(".bulk.", node, strconv.FormatUint(number, 10))
}

// Name is where to ask who has a name.
func (s *Space) Name(node string) string { return s.cluster + ".name." + node + "." + s.node }

func (s *Space) join(kind, node, life string) string {
	var b strings.Builder
	b.Grow(len(s.cluster) + len(kind) + len(node) + len(life) + len(s.node) + len(s.rights) + 3)
	for _, part := range []string{s.cluster, kind, node, ".", life, ".", s.node, ".", s.rights} {
		b.WriteString(part)
	}
	return b.String()
}

// Rights are the rights of this node as they stand in its subjects.
func (s *Space) Rights() string { return s.rights }

// Topic is where this node publishes to a topic, and Topics the pattern of what all
// nodes publish to it.
func (s *Space) Topic(topic string) string {
	return s.cluster + ".topic." + escaped(topic) + "." + s.node + "." + s.rights
}

// Topics is the pattern to subscribe to, see Topic.
func (s *Space) Topics(topic string) string { return s.cluster + ".topic." + escaped(topic) + ".*.*" }

// escaped is a name as one token of a subject: letters, digits, - and _ stand for
// themselves, every other byte is = and two digits. Two names never give one token.
func escaped(name string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			b.Write([]byte{'=', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// Publish are the patterns a node may publish to, whatever its incarnation.
func (s *Space) Publish() []string {
	own := []string{s.join(".to.", "*", "*"), s.join(".bulk.", "*", "*"), s.Alive, s.Engine, s.Name("*"), s.cluster + ".inbox.>", s.cluster + ".topic.*." + s.node + "." + s.rights}
	return append(own, s.durable()...)
}

// Streams are the streams of a cluster: of records and of commands, see package records.
func Streams(cluster string) (loops, work string) { return cluster + "-LOOPS", cluster + "-WORK" }

// Records and Work begin the subjects of these streams.
func Records(cluster string) string { return cluster + ".rec." }

// Work is the beginning of the subjects of commands.
func Work(cluster string) string { return cluster + ".work." }

// MakeStreams are the patterns that a node needs beside Publish to make the two streams of
// the cluster. Whoever makes a stream decides what it captures and how many copies there
// are, so with keys only voters and admins get them (package keys).
func (s *Space) MakeStreams() []string {
	loops, work := Streams(s.cluster)
	return []string{"$JS.API.STREAM.CREATE." + loops, "$JS.API.STREAM.CREATE." + work}
}

// durable are the subjects that durable work takes: the records themselves, of leases
// only the node's own, and what JetStream is asked for about the two streams. A node may
// neither make nor delete nor change nor purge a stream. Whoever may publish here can claim every
// name, and cancel and send every durable call: these are not rights of one node on
// another, and the functions that run are those that the other program registered.
func (s *Space) durable() []string {
	rec, jobs := Records(s.cluster), Work(s.cluster)
	loops, work := Streams(s.cluster)
	list := []string{
		rec + "own.*", rec + "lease." + s.node, rec + "timer.*.*", rec + "queue.*", rec + "effect.>", jobs + "cmd.*.*", jobs + "end.*.*",
		"$JS.API.INFO", "$JS.API.STREAM.MSG.DELETE." + work, "$JS.ACK." + work + ".>", "$JS.ACK.*.*." + work + ".>",
	}
	for _, stream := range []string{loops, work} {
		for _, ask := range []string{"STREAM.INFO.", "STREAM.MSG.GET."} {
			list = append(list, "$JS.API."+ask+stream)
		}
		for _, ask := range []string{"CONSUMER.CREATE.", "CONSUMER.INFO.", "CONSUMER.DELETE.", "CONSUMER.MSG.NEXT."} {
			list = append(list, "$JS.API."+ask+stream+".>")
		}
	}
	return list
}

// Subscribe are the patterns a node may subscribe to. Every topic is among them: who is
// a member may hear what is published. The last two are the
// server's notices of clients that come and go.
func (s *Space) Subscribe() []string {
	return []string{s.Frames, s.Bulk, s.Members, s.Engines, s.Names, s.Inbox + ".>", s.cluster + ".topic.>", Notices("*", "CONNECT"), Notices("*", "DISCONNECT")}
}

// Notices is where a server tells that a client of an account has come (CONNECT)
// or gone (DISCONNECT).
func Notices(account, what string) string { return "$SYS.ACCOUNT." + account + "." + what }

// Sender splits a subject of Frames, Bulk, Topics, Members, Names or Engines. rights is "" where
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
	case "name":
		_, name, _ = strings.Cut(rest, ".")
		return name, "", name != "" && !strings.Contains(name, ".")
	case "to", "bulk", "topic":
		if kind != "topic" {
			_, rest, _ = strings.Cut(rest, ".")
		}
		_, rest, _ = strings.Cut(rest, ".")
		name, rights, _ = strings.Cut(rest, ".")
		return name, rights, name != "" && rights != "" && !strings.Contains(rights, ".")
	}
	return "", "", false
}

// InboxOf reports whether a subject belongs to the inbox of a node.
func (s *Space) InboxOf(subject, node string) bool {
	return strings.HasPrefix(subject, s.cluster+".inbox."+node+".")
}

// Token is what stands behind Reply; false when the subject is another one.
func (s *Space) Token(subject string) (string, bool) { return strings.CutPrefix(subject, s.Reply) }
