package nodecmd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/durable"
)

// TestCheckWarnsOfDeadLetters asks a node that has one, in the words of the command line.
func TestCheckWarnsOfDeadLetters(t *testing.T) {
	shop(t)
	for end := time.Now().Add(patience); loopmesh("command", "dead", "-o", "name").out != "mail/m1\n"; {
		if time.Now().After(end) {
			t.Fatal("there is no dead letter")
		}
	}
	s := loopmesh("check", "--lag", "1h")
	if s.code != exitOK || !strings.Contains(s.out+s.errs, "1 dead letter in queue mail") || !strings.Contains(s.out+s.errs, "loopmesh command dead") {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("check", "--lag", "1h", "--strict"); s.code != exitFalse {
		t.Errorf("%+v", s)
	}
	events := func() said { return loopmesh("events", "--kind", codeDeadLetter, "--no-headers") }
	for end := time.Now().Add(patience); !strings.Contains(events().out, "mail/m1"); {
		if time.Now().After(end) {
			t.Fatalf("no event tells of it: %+v", events())
		}
	}
	if s := events(); !strings.Contains(s.out, "LM3170") || strings.ContainsAny(s.out, "\x1b\u202e") {
		t.Errorf("%+v", s)
	}
}

// TestDeadLettersOfManyQueues are one finding, which says whether more may be there, and one
// that could not be asked for is a finding, too.
func TestDeadLettersOfManyQueues(t *testing.T) {
	l := &look{}
	l.letters.Items = []admin.Command{{Queue: "a"}, {Queue: "b"}, {Queue: "a"}}
	if all := judgeLetters(l, usual); len(all) != 1 || !strings.HasPrefix(all[0].Text, "3 dead letters in 2 queues, the first is a;") {
		t.Errorf("%+v", all)
	}
	l.letters.Items = make([]admin.Command, durable.MaxListed)
	for i := range l.letters.Items {
		l.letters.Items[i].Queue = "a"
	}
	if all := judgeLetters(l, usual); len(all) != 1 || !strings.HasPrefix(all[0].Text, "10000 dead letters or more in queue a;") {
		t.Errorf("%+v", all)
	}
	l = &look{}
	l.readLetters(context.Background(), func(ctx context.Context, queue string) (*admin.List[admin.Command], error) {
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > lettersTime || queue != "" {
			t.Error("the question has no limit, or is for one queue")
		}
		return nil, errors.New("late")
	})
	if all := judgeLetters(l, usual); len(all) != 1 || !strings.Contains(all[0].Text, "was not found out within 3s") {
		t.Errorf("%+v", all)
	}
}
