package logbridge

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestTwoLoggersAreRefused(t *testing.T) {
	if _, err := Logger(hclog.NewNullLogger(), slog.Default(), "x"); !errors.Is(err, ErrTwoLoggers) {
		t.Fatal(err)
	}
}

func TestWithoutALoggerOnlyWarningsAreWritten(t *testing.T) {
	l, err := Logger(nil, nil, "x")
	if err != nil || l.IsInfo() || !l.IsWarn() {
		t.Fatalf("info %v, warn %v, %v", l.IsInfo(), l.IsWarn(), err)
	}
}

func TestAnHclogLoggerIsUsedAsItIs(t *testing.T) {
	h := hclog.NewNullLogger()
	if l, err := Logger(h, nil, "x"); l != h || err != nil {
		t.Fatal(l, err)
	}
}

func TestRecordsGoToSlog(t *testing.T) {
	var out bytes.Buffer
	drop := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	l, err := Logger(nil, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: drop})), "loop")
	if err != nil {
		t.Fatal(err)
	}
	l.Named("io").With("node", "n1").Warn("slow", "ms", 12)
	l.Trace("below the handler's level")
	_, _ = l.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error}).Write([]byte("a line\n"))
	want := "level=WARN msg=slow logger=loop.io node=n1 ms=12\nlevel=ERROR msg=\"a line\" logger=loop\n"
	if out.String() != want {
		t.Fatalf("got %q\nwant %q", out.String(), want)
	}
	if l.GetLevel() != hclog.Debug || l.IsTrace() || !l.IsDebug() {
		t.Fatal(l.GetLevel())
	}
}
