package durable

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/schedule"
)

// What is in the store may be of another version of this program, or of somebody who has the
// right to write there and means harm. The owner of a group must refuse it, or be able to do
// with it everything that it does with its own.

// FuzzTimer: a record that is read can be waited for, and whatever its run ends in, the
// record behind it can be written and read again.
func FuzzTimer(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"group":"g","id":"a","function":"f","due":"2026-03-01T00:00:00Z","slot":"2026-03-01T00:00:00Z","state":"pending","most":10}`,
		`{"v":1,"group":"g","id":"a","delay":5000000000,"due":"2026-03-01T00:00:00Z","slot":"2026-03-01T00:00:00Z","state":"pending","attempts":2,"most":3}`,
		`{"v":1,"group":"g","id":"a","attempts":-1,"most":3,"state":"pending"}`,
		`{"v":1,"group":"g","id":"a","attempts":-9223372036854775808,"delay":-1,"most":-1,"state":"pending"}`,
		`{"v":1,"group":"g","id":"a","rule":"@every 1h","slot":"0001-01-01T00:00:00Z","state":"pending"}`,
		`{"v":1,"group":"g","id":"a","rule":"@every 2540400h","slot":"9999-12-31T23:59:59Z","misfire":"all","state":"pending"}`,
		`{"v":1,"group":"g","id":"a","rule":"@yearly","slot":"9999-12-31T23:59:59Z","misfire":"all","state":"pending"}`,
		`{"v":1,"group":"g","id":"a","rule":"@daily","zone":"Europe/Amsterdam","slot":"9999-12-31T23:59:59-23:59","misfire":"skip","state":"pending"}`,
		`{"v":1,"group":"g","id":"a","rule":"x","state":"pending"}`, `{"v":2,"group":"g","id":"a"}`, `{"v":1,"group":"g"}`, `{"v":1}`, `[]`, `null`, ``, `{`,
		`{"v":1,"group":"g","id":"a","arg":"!"}`, `{"v":1,"group":"g","id":"a","due":"10000-01-01T00:00:00Z"}`, strings.Repeat(`{"v":`, 1000),
	} {
		f.Add([]byte(seed), "g", "a")
	}
	f.Fuzz(func(t *testing.T, body []byte, group, id string) {
		stored := records.Record{Subject: timerSubject(group, id), Seq: 7, Body: body}
		rec, err := readTimer(stored)
		if err != nil {
			if !errors.Is(err, errGarbage) {
				t.Errorf("an error without a name: %v", err)
			}
			return
		}
		if rec.Group != group || rec.ID != id {
			t.Fatalf("it is of %q, %q", rec.Group, rec.ID)
		}
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		for _, live := range []bool{true, false} {
			at := schedule.Clock{Mono: time.Hour, Wall: now}
			s := schedule.New()
			s.Put(at, rec.entry(stored, at, live))
			if d, ok := s.Wait(at); !ok || d < 0 {
				t.Errorf("it waits for %v, %v", d, ok)
			}
		}
		for _, ended := range []error{nil, errors.New("failed"), errSkipped} {
			next, ttl := rec.after(ended, now)
			again, err := readTimer(records.Record{Subject: stored.Subject, Seq: 8, Body: next.encode()})
			if err != nil || ttl < 0 {
				t.Fatalf("behind %v: %v, for %v", ended, err, ttl)
			}
			if moved := again.Slot.After(rec.Slot); rec.Rule != "" && again.State == Pending && again.Attempts == 0 && !moved {
				t.Errorf("behind %v the time after %v is %v", ended, rec.Slot, again.Slot)
			}
			if rec.Rule != "" && again.State == Pending && rec.Misfire != RunAll && again.Slot.Before(now) && again.Attempts == 0 {
				t.Errorf("behind %v the next time is %v, and it is %v: a crowd of runs", ended, again.Slot, now)
			}
		}
	})
}

// FuzzCommand: a command that is read can be compared, begun and ended, and its ending is
// read again.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"queue":"q","id":"a","function":"f","most":3,"sent":"2026-03-01T00:00:00Z"}`, `{"v":1,"queue":"q","id":"a","most":-1,"key":"\ud800"}`,
		`{"v":1,"queue":"q","id":"a","sent":"9999-12-31T23:59:59-23:59"}`, `{"v":1,"queue":"q","id":"a","codec":255,"arg":"AAAA"}`, `{"v":1,"queue":"q"}`,
		`{"v":1,"state":"dead","command":{"queue":"q","id":"a"}}`, `{"v":1,"state":"dead","command":null}`, `{"v":1,"state":"done","attempts":-1,"command":{"v":9,"queue":"q","id":"a"}}`, `{`, `null`,
	} {
		f.Add([]byte(seed), "q", "a")
	}
	f.Fuzz(func(t *testing.T, body []byte, queue, id string) {
		c, err := readCommand(records.Record{Subject: commandSubject(queue, id), Body: body})
		if err == nil {
			again := c
			if c.Queue != queue || c.ID != id || c.digest() != again.digest() {
				t.Fatalf("it is %+v", c)
			}
			for _, ended := range []error{nil, errors.New("failed")} {
				raw, ttl := (&taken{command: c, attempts: 1}).ending(ended)
				e, err := readEnding(records.Record{Subject: endSubject(queue, id), Body: raw})
				if err != nil || ttl < 0 || e.Digest != c.digest() || ended != nil && (e.State != Dead || string(e.Command.Arg) != string(c.Arg)) {
					t.Fatalf("behind %v: %+v, %v", ended, e, err)
				}
			}
		} else if !errors.Is(err, errGarbage) {
			t.Errorf("an error without a name: %v", err)
		}
		e, err := readEnding(records.Record{Subject: endSubject(queue, id), Body: body})
		if err == nil && (e.Command.Queue != queue || e.Command.ID != id) || err != nil && !errors.Is(err, errGarbage) {
			t.Errorf("an ending: %+v, %v", e, err)
		}
	})
}

// FuzzState: a stored state of another form is an error or a value, and what is stored again
// is the same.
func FuzzState(f *testing.F) {
	type cart struct {
		Items map[string]int
		When  time.Time
		Next  *cart
	}
	for form := range byte(6) {
		f.Add(append([]byte{form}, `{"Items":{"a":1},"When":"2026-03-01T00:00:00Z"}`...))
		f.Add([]byte{form, 0xa1, 0x65, 'I', 't', 'e', 'm', 's', 0xa1, 0x61, 'a', 1})
		f.Add([]byte{form, 0xbf, 0xbf, 0xbf})
		f.Add([]byte{form})
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return // a store takes no such value
		}
		if v, err := readState[cart](b); err == nil && len(fmt.Sprint(v)) > 1<<20 {
			t.Errorf("%d bytes became %d", len(b), len(fmt.Sprint(v)))
		}
		_, _ = readState[int](b)
		if v, err := readState[[]byte](b); err == nil && len(v) > len(b) {
			t.Errorf("%d bytes became %d", len(b), len(v))
		}
	})
}
