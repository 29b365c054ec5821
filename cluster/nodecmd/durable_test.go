package nodecmd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/durable"
)

var hopeless = cluster.Func("test.hopeless", func(context.Context, string) (int, error) { return 0, errors.New("no \x1b[2J\u202ehope") })

// shop is a node with a store, a call for later whose group steers a terminal, and a
// queue with a dead letter.
func shop(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	n, err := cluster.Start(ctx, cluster.Config{Name: "n1", StoreDir: t.TempDir(), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	s, err := admin.Serve(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ref, err := n.NewLoop("work")
	if err != nil {
		t.Fatal(err)
	}
	_, works := durable.Work(n, "mail", ref)
	for _, err := range []error{
		works, durable.CallLater(ctx, n, "remind", hopeless, "", time.Hour, durable.Group("shop")),
		durable.CallLater(ctx, n, "b c", hopeless, "", 2*time.Hour, durable.Group("a/\u202e")),
		durable.Send(ctx, n, "mail", "m1", hopeless, "", durable.Redeliver(1)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsStored(t *testing.T) {
	shop(t)
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ok(); {
			if time.Now().After(end) {
				t.Fatal("not in time: ", what)
			}
		}
	}
	until("a dead letter in place of the command", func() bool {
		return loopmesh("command", "dead", "-o", "name").out == "mail/m1\n" && loopmesh("command", "ls", "-o", "name").out == ""
	})
	until("ids are completed", func() bool { // within 300 ms or not at all
		return strings.Contains(loopmesh("__complete", "timer", "cancel", "").out, "shop/remind\tpending") &&
			strings.Contains(loopmesh("__complete", "command", "requeue", "").out, "mail/m1\tno ?[2J?hope")
	})
	for _, c := range []struct {
		args string
		code int
		out  string
		errs string
	}{
		{"name ls -o name", exitOK, "queue/mail\n", ""},
		{"name ls --columns name,node --no-headers", exitOK, "queue/mail  n1\n", ""},
		{"timer ls -o name", exitOK, "shop/remind\na%2F%E2%80%AE/b%20c\n", ""},
		{"timer ls --group shop -o name", exitOK, "shop/remind\n", ""},
		{"timer ls --sort -id --filter function=test.hopeless -o name", exitOK, "shop/remind\na%2F%E2%80%AE/b%20c\n", ""},
		{"command ls --queue mail -o name", exitOK, "", ""},
		{"command dead --columns command,failed,error --no-headers", exitOK, "mail/m1  1  no ?[2J?hope\n", ""},
		{"timer ls --group shpo", exitNotFound, "", `no node serves a group "shpo"`},
		{"command ls --queue mial", exitNotFound, "", `no node serves a queue "mial"`},
		{"command dead -q mial", exitNotFound, "", "LM1011"},
		{"timer ls --filter size=1", exitUsage, "", `no field "size"`},
		{"command ls --columns size", exitUsage, "", `no column "size"`},
		{"timer cancel shop/nothing", exitNotFound, "", `no timer "shop/nothing" (LM1012)`},
		{"timer fire shop/nothing -o json", exitNotFound, "", `"code":"LM1012"`},
		{"command requeue mail/nothing", exitNotFound, "", `no dead letter "mail/nothing" (LM1012)`},
		{"timer cancel remind", exitUsage, "", `"remind" is not an id of "timer ls" (LM1009)`},
		{"timer cancel", exitUsage, "", "needs TIMER"},
		{"timer fire shop/remind --reason now", exitOK, "", ""},
		{"timer cancel a%2F%E2%80%AE/b%20c -o name", exitOK, "a%2F%E2%80%AE/b%20c\n", ""},
		{"timer ls --filter state=cancelled -o name", exitOK, "a%2F%E2%80%AE/b%20c\n", ""},
		{"command requeue mail/m1 -o name", exitOK, "mail/m1\n", ""},
	} {
		s := loopmesh(strings.Fields(c.args)...)
		if s.code != c.code || s.out != c.out || !strings.Contains(s.errs, c.errs) || strings.ContainsAny(s.out+s.errs, "\x1b\u202e") {
			t.Errorf("%s: %+v", c.args, s)
		}
	}
	for _, args := range [][]string{{"timer", "cancel", "\x1b[2J/x"}, {"timer", "ls", "--group", "\u202eevil"}, {"command", "requeue", "\u202e"}, {"command", "ls", "--queue", "\x1b"}} {
		if s := loopmesh(args...); !slices.Contains([]int{exitUsage, exitNotFound}, s.code) || s.out != "" || strings.ContainsAny(s.errs, "\x1b\u202e") {
			t.Errorf("%q: %+v", args, s)
		}
	}
	if list := decoded[admin.List[admin.Timer]](t, loopmesh("timer", "ls", "-o", "json")); len(list.Items) != 2 || list.Kind != "TimerList" {
		t.Errorf("%+v", list)
	}
	if s := loopmesh("events", "--kind", "order", "--no-headers", "-o", "name"); strings.Count(s.out, "\n") != 3 {
		t.Errorf("%+v", s)
	}
}

func TestNothingIsStoredWithoutJetStream(t *testing.T) {
	village(t)
	for _, args := range []string{"name ls", "placement ls", "timer ls", "command ls", "command dead", "timer cancel a/b", "timer fire a/b", "command requeue a/b", "name ls --allow-partial"} {
		if s := loopmesh(strings.Fields(args)...); s.code != exitConfig || s.out != "" || !strings.Contains(s.errs, "LM1806") || !strings.Contains(s.errs, "--store") {
			t.Errorf("%s: %+v", args, s)
		}
	}
}
