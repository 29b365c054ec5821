package logbridge

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/hashicorp/go-hclog"
)

func bridge(out *bytes.Buffer, level hclog.Level, opts Options) slog.Handler {
	return Handler(hclog.New(&hclog.LoggerOptions{Output: out, Level: level, JSONFormat: true, DisableTime: true}), opts)
}

// nested undoes the dots and hclog's own key names.
func nested(t *testing.T, line []byte) map[string]any {
	var flat map[string]any
	if err := json.Unmarshal(line, &flat); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	tree := map[string]any{}
	for key, v := range flat {
		switch key {
		case "@message":
			key = slog.MessageKey
		case "@level":
			key = slog.LevelKey
		}
		at, parts := tree, strings.Split(key, ".")
		for _, p := range parts[:len(parts)-1] {
			if _, ok := at[p]; !ok {
				at[p] = map[string]any{}
			}
			at = at[p].(map[string]any)
		}
		at[parts[len(parts)-1]] = v
	}
	return tree
}

func TestTheBridgeIsAProperSlogHandler(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return bridge(&out, hclog.Trace, Options{Time: true})
	}, func(t *testing.T) map[string]any { return nested(t, out.Bytes()) })
}

func TestLevelsKeepTheirMeaning(t *testing.T) {
	for _, c := range []struct {
		level         slog.Level
		plain, softer string
	}{
		{slog.LevelDebug - 4, "trace", "trace"},
		{slog.LevelDebug, "debug", "trace"},
		{slog.LevelInfo, "info", "debug"},
		{slog.LevelWarn, "warn", "info"},
		{slog.LevelError, "error", "warn"},
		{slog.LevelError + 8, "error", "error"},
	} {
		for want, opts := range map[string]Options{c.plain: {}, c.softer: {Quieter: true}} {
			var out bytes.Buffer
			slog.New(bridge(&out, hclog.Trace, opts)).Log(context.Background(), c.level, "m")
			if opts.Quieter && want != c.softer || !strings.Contains(out.String(), `"`+want+`"`) {
				if c.plain != c.softer {
					t.Errorf("%v quieter=%v: %s", c.level, opts.Quieter, out.String())
				}
			}
		}
	}
	var out bytes.Buffer
	for level, enabled := range map[hclog.Level]bool{hclog.Debug: true, hclog.Info: true, hclog.Warn: false, hclog.Off: false} {
		if got := bridge(&out, level, Options{}).Enabled(context.Background(), slog.LevelInfo); got != enabled {
			t.Errorf("%v: %v", level, got)
		}
	}
}
