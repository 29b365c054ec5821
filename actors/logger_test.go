package actors

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestProtoactorSpeaksThroughTheSystemsLogger(t *testing.T) {
	var out bytes.Buffer
	l := newHandLoop("l")
	s := system(t, Options{Logger: hclog.New(&hclog.LoggerOptions{Name: "mesh", Output: &out, Level: hclog.Debug})})
	r := spawn(t, s, l, "a", (&book{}).child("a"))
	must(t, s.Send(r, "boom"))
	l.settle()
	log := out.String()
	for _, want := range []string{"[DEBUG] mesh.protoactor: actor system started", "[WARN]  mesh: actor failed: actor=/a", "directive=stop"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is missing in\n%s", want, log)
		}
	}
}

func TestTwoLoggersAreRefused(t *testing.T) {
	if _, err := New(Options{Logger: hclog.NewNullLogger(), Slog: slog.Default()}); err == nil || !strings.Contains(err.Error(), "Slog") {
		t.Fatal(err)
	}
}

func TestASystemLogsToSlog(t *testing.T) {
	var out bytes.Buffer
	l := newHandLoop("l")
	s := system(t, Options{Slog: slog.New(slog.NewTextHandler(&out, nil))})
	r := spawn(t, s, l, "a", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "boom" {
				ctx.Exit(errors.New("broken"))
			}
		})
	})
	must(t, s.Send(r, "boom"))
	l.settle()
	if log := out.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "reason=broken") {
		t.Fatal(log)
	}
}
