package subject

import (
	"slices"
	"strings"
	"testing"
)

// covers is NATS's rule for patterns: * is one token, > the rest.
func covers(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}

func may(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, subject) })
}

func TestANodeMayUseItsOwnSubjectsOnly(t *testing.T) {
	n1, n2 := New("c", "n1", 7, "d"), New("c", "n2", 7, "d")
	for _, s := range []string{
		n1.To("n2", 8), n1.To("n1", 8), n1.BulkTo("n2", 8), n1.Name("n2"), n1.Topic("room.7/ä"), n1.Alive, n1.Engine, n2.Inbox + ".x", "c.rec.lease.n1", "c.rec.own.x",
		"c.rec.timer.g.i", "c.work.cmd.q.i", "$JS.API.CONSUMER.CREATE.c-LOOPS.x.c.rec.own.*", "$JS.ACK.c-WORK.q-x.1.1.1.1.0",
	} {
		if !may(n1.Publish(), s) {
			t.Errorf("n1 cannot publish to %s", s)
		}
	}
	for _, s := range []string{
		n2.To("n1", 8), n2.To("n2", 8), n2.BulkTo("n1", 8), n2.Name("n1"), n2.Topic("room"), "c.topic.room.n1", "d.topic.room.n1.d", "c.topic.room.n1.other", n2.Alive, n2.Engine, n1.Reply + "7", n2.Reply + "7",
		"c.to.n2.8.n1.other", "c.to.n2.8.n1", "other.to.n2.8.n1.d", "$SYS.ACCOUNT.A.DISCONNECT", "$JS.API.STREAM.DELETE.c-LOOPS", "$JS.API.STREAM.PURGE.c-LOOPS",
		"$JS.API.STREAM.UPDATE.c-WORK", "$JS.API.STREAM.CREATE.c-LOOPS", "$JS.API.STREAM.CREATE.c-WORK", "$JS.API.STREAM.MSG.DELETE.c-LOOPS", "$JS.API.STREAM.INFO.d-LOOPS", "c.rec.lease.n2", "d.rec.own.x", "$JS.ACK.d-WORK.c.1.1.1.1.0",
	} {
		if may(n1.Publish(), s) {
			t.Errorf("n1 can publish to %s", s)
		}
	}
	for s, want := range map[string]bool{"$JS.API.STREAM.CREATE.c-LOOPS": true, "$JS.API.STREAM.CREATE.c-WORK": true, "$JS.API.STREAM.CREATE.d-WORK": false, "$JS.API.STREAM.UPDATE.c-WORK": false} {
		if may(n1.MakeStreams(), s) != want {
			t.Errorf("who makes streams may publish to %s: %v", s, !want)
		}
	}
	for _, s := range []string{n2.To("n1", 8), n1.Reply + "7", n2.BulkTo("n1", 8), n2.Name("n1"), n2.Topic("room"), n1.Topics("room"), n2.Alive, n2.Engine, n1.Inbox + ".x", Notices("A", "CONNECT")} {
		if !may(n1.Subscribe(), s) {
			t.Errorf("n1 does not hear %s", s)
		}
	}
	if !covers(n1.Bytes, n2.BulkTo("n1", 7)) || covers(n1.Bytes, n2.BulkTo("n1", 8)) || !may(n1.Subscribe(), n2.BulkTo("n1", 7)) {
		t.Errorf("%s is not what is sent to this life", n1.Bytes)
	}
	for _, s := range []string{n1.To("n2", 8), n1.BulkTo("n2", 8), n2.Reply + "7", n2.Inbox + ".x", "$SYS.SERVER.X.STATSZ"} {
		if may(n1.Subscribe(), s) {
			t.Errorf("n1 hears %s", s)
		}
	}
}

// TestATopicIsOneToken: whatever its name is, it can be heard under its own name only.
func TestATopicIsOneToken(t *testing.T) {
	s, seen := New("c", "n1", 7, "d"), map[string]string{}
	for _, name := range []string{"room", "room.7", "room=2E7", "room 7", "*", ">", "a.*", "ä", "\x00", "=", "=3D"} {
		subject := s.Topic(name)
		if !covers(s.Topics(name), subject) || !covers("c.topic.*.n1.d", subject) {
			t.Errorf("%q is published to %s", name, subject)
		}
		if other, ok := seen[subject]; ok {
			t.Errorf("%q and %q are one subject", name, other)
		}
		seen[subject] = name
		for _, other := range []string{"room", "x"} {
			if other != name && covers(s.Topics(other), subject) {
				t.Errorf("who subscribes to %s hears %q", other, name)
			}
		}
	}
}

func TestTheSenderIsReadFromTheSubject(t *testing.T) {
	n1, n2 := New("c", "n1", 7, "d"), New("c", "n2", 7, "e")
	for subject, want := range map[string][2]string{
		n2.To("n1", 8): {"n2", "e"}, n2.BulkTo("n1", 8): {"n2", "e"}, n2.Name("n1"): {"n2", ""}, n2.Topic("a.b"): {"n2", "e"}, n2.Alive: {"n2", ""}, n2.Engine: {"n2", ""},
	} {
		if name, rights, ok := n1.Sender(subject); !ok || name != want[0] || rights != want[1] {
			t.Errorf("%s: got %q, %q, %v", subject, name, rights, ok)
		}
	}
	for _, subject := range []string{"", "c", "c.to", "c.to.n1", "c.to.n1.8.n2", n1.Reply + "7", "c.members", "c.members.a.b", "d.members.n2", "c.other.n1.8.n2.d", "c.to.n1.8.n2.d.x", "c.name.n1", "c.name.n1.a.b", "c.topic.a.n2", "c.topic.a.n2.d.x"} {
		if name, _, ok := n1.Sender(subject); ok {
			t.Errorf("%s is of %s", subject, name)
		}
	}
	if token, ok := n1.Token(n1.Reply + "p-7"); !ok || token != "p-7" {
		t.Errorf("got %q, %v", token, ok)
	}
	if _, ok := n1.Token(n2.To("n1", 8)); ok {
		t.Error("a frame is no answer of NATS")
	}
}

func FuzzSender(f *testing.F) {
	s := New("c", "n1", 7, "d")
	f.Add("c.to.n1.8.n2.d")
	f.Fuzz(func(t *testing.T, subject string) {
		if name, rights, ok := s.Sender(subject); ok && (name == "" || strings.Contains(name+rights, ".")) {
			t.Errorf("%q gives %q, %q", subject, name, rights)
		}
	})
}

// FuzzTopic: whatever a topic is called, its subject is this node's alone: of five tokens,
// without a wildcard, and another topic has another one.
func FuzzTopic(f *testing.F) {
	s := New("c", "n1", 7, "d")
	f.Add("room.7", "room.8")
	f.Add("*", ">")
	f.Add("", "=")
	f.Add("a.n2.d", "a=2En2=2Ed")
	f.Add("\x00\r\n", "é")
	f.Fuzz(func(t *testing.T, a, b string) {
		one, other := s.Topic(a), s.Topic(b)
		if strings.Count(one, ".") != 4 || strings.ContainsAny(one, "*> \t\r\n\x00") {
			t.Errorf("%q is published at %q", a, one)
		}
		if (one == other) != (a == b) {
			t.Errorf("%q and %q have the subjects %q and %q", a, b, one, other)
		}
		if name, rights, ok := s.Sender(one); a != "" && (!ok || name != "n1" || rights != "d") {
			t.Errorf("%q is of %q, %q", one, name, rights)
		}
	})
}
