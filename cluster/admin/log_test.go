package admin

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.b.Reset()
	return b.b.String()
}

func TestLevelsOfModules(t *testing.T) {
	var out lockedBuffer
	l := NewLog("prog", &out, hclog.Warn)
	log := l.Logger().With("node", "n1")
	nats, loop := log.Named("nats"), log.Named("n1").Named("loop")
	set := func(module string, level hclog.Level) {
		t.Helper()
		if err := l.Set(module, level); err != nil {
			t.Fatal(err)
		}
	}
	said := func() string {
		log.Debug("root-debug")
		log.Warn("root-warn")
		nats.Debug("nats-debug")
		nats.Warn("nats-warn", "key", "value")
		loop.Debug("loop-debug")
		text := out.take()
		var heard []string
		for _, w := range []string{"root-debug", "root-warn", "nats-debug", "nats-warn", "loop-debug"} {
			if strings.Contains(text, w) {
				heard = append(heard, w)
			}
		}
		return strings.Join(heard, " ")
	}
	for _, c := range []struct {
		module string
		level  hclog.Level
		want   string
	}{
		{"", hclog.Warn, "root-warn nats-warn"},
		{"nats", hclog.Debug, "root-warn nats-debug nats-warn"},
		{"loop", hclog.Debug, "root-warn nats-debug nats-warn loop-debug"},
		{"n1.loop", hclog.Error, "root-warn nats-debug nats-warn"},
		{"nats", hclog.Off, "root-warn"},
		{"nats", hclog.NoLevel, "root-warn nats-warn"},
		{"", hclog.Debug, "root-debug root-warn nats-debug nats-warn"},
		{"", hclog.Off, ""},
	} {
		set(c.module, c.level)
		if got := said(); got != c.want {
			t.Errorf("%q at %v: heard %q, want %q", c.module, c.level, got, c.want)
		}
	}
	if !log.IsDebug() || !nats.IsDebug() {
		t.Error("code that asks first would not say what the module loop wants to hear") // loop is at debug
	}
	for _, module := range []string{"a b", strings.Repeat("x", 129), "\x1b"} {
		if l.Set(module, hclog.Debug) == nil {
			t.Errorf("%q is taken", module)
		}
	}
	if l.Set("", hclog.NoLevel) == nil {
		t.Error("there is no level any more")
	}
	for i := range maxModules {
		if err := l.Set(fmt.Sprint("m", i), hclog.Debug); (err == nil) != (i < maxModules-3) {
			t.Fatalf("%d: %v", i, err)
		}
	}
}

func TestLinesAreKept(t *testing.T) {
	var out lockedBuffer
	l := NewLog("prog", &out, hclog.Info)
	log := l.Logger().Named("mod")
	log.Debug("not said")
	for i := range maxLines + 10 {
		log.Info("line", "number", i)
	}
	l.Logger().Named("other").Warn("alone\x1b", "long", strings.Repeat("x", 2*maxLineBytes))
	lines, more := l.tail("n1", "", 2)
	if len(lines) != 2 || !more || lines[0].Level != "info" || lines[0].Module != "mod" || !strings.HasSuffix(lines[0].Text, fmt.Sprintf("number=%d", maxLines+9)) || lines[0].Node != "n1" {
		t.Fatalf("%+v %v", lines, more)
	}
	if last := lines[1]; last.ID != fmt.Sprintf("n1/log/%d", maxLines+11) || len(last.Text) > maxLineBytes || last.Module != "other" {
		t.Errorf("%s has %d bytes", last.ID, len(last.Text))
	}
	if all, more := l.tail("n1", "mod", maxLines); len(all) > maxLines || len(all) < maxLines/2 || more {
		t.Errorf("%d lines, %v", len(all), more)
	}
	if none, more := l.tail("n1", "nothing", 5); len(none) != 0 || more {
		t.Errorf("%+v", none)
	}
	text := out.take()
	if strings.Contains(text, "not said") || strings.Count(text, "\n") != maxLines+11 {
		t.Errorf("%d lines were written", strings.Count(text, "\n"))
	}
	levels := l.list("n1")
	if len(levels) != 3 || levels[0] != (LogLevel{"n1/*", "n1", "*", "info", true}) || levels[1] != (LogLevel{"n1/mod", "n1", "mod", "info", false}) {
		t.Errorf("%+v", levels)
	}
}

// Goroutines that log, change levels and read at once: the race detector looks.
func TestALogOfManyGoroutines(t *testing.T) {
	l := NewLog("prog", &lockedBuffer{}, hclog.Info)
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			log := l.Logger().Named(fmt.Sprint("m", i))
			for n := range 200 {
				log.Info("said", "n", n)
				if err := l.Set(fmt.Sprint("m", i), hclog.Debug); err != nil {
					t.Error(err)
				}
				l.tail("n", "", 3)
				l.list("n")
			}
		})
	}
	work.Wait()
	if lines, _ := l.tail("n", "", maxLines); len(lines) != 800 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestANodeThatKeepsNoLog(t *testing.T) {
	s, _ := pair(t)
	for _, path := range []string{"tail", "levels", "level"} {
		if _, code := request[any](t, s, "POST", "/api/v1/log/"+path+"?id=n1&level=debug"); code != statuses[NotFound] {
			t.Errorf("%s: %d", path, code)
		}
	}
	s.Keep(nil, []Setting{{Key: "name", Value: "n1", Origin: "default"}})
	list, _ := request[List[Setting]](t, s, "GET", "/api/v1/settings")
	if len(list.Items) != 1 || list.Items[0] != (Setting{"name", "n1", "default", "n1"}) || len(list.Partial) != 1 {
		t.Errorf("%+v", list)
	}
	for path, want := range map[string]int{
		"profile?id=n1": statuses[BadRequest], "profile?id=n1&of=fun": statuses[BadRequest], "profile?id=n1&of=cpu&for=2m": statuses[BadRequest], "profile?id=n9&of=heap": statuses[NotFound],
		"log/tail?id=n1&lines=0": statuses[BadRequest], "log/tail": statuses[NotFound],
	} {
		if _, code := request[any](t, s, "POST", "/api/v1/"+path); code != want {
			t.Errorf("%s: %d", path, code)
		}
	}
}
