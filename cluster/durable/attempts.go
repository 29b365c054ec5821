package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

// A command that kills its process must become a dead letter in the end, though whoever
// dies by it cannot count. So a command that an earlier owner may have begun is not begun
// before that is written down, and by which life of which node. An attempt is a life that
// has begun it and is over.
//
// Why not count the owners that held it: an owner holds hundreds that wait for others of
// their key. Ten owners that are killed, one after another and by anything, would make dead
// letters of commands that never ran. And why lives that are over: an owner whose lease ended
// because the store did not answer has not died by a command. A cluster in trouble changes
// its owners every few seconds.
//
// What no earlier owner held is begun without a record, so a healthy queue does not pay for
// this. Its first death may therefore not be counted; a command of one attempt is written
// down each time.

// begunBy is the record of a command that may have been begun before.
type begunBy struct {
	Version int      `json:"v"`
	Lives   []string `json:"lives"`
	Nonce   string   `json:"nonce"`
}

// noteAttempt writes down that this node begins the command, and learns how many died that
// had done so. With none left it writes nothing. Error: the store did not answer, then the
// command may not be begun.
func (w *worker) noteAttempt(t *taken) error {
	if t.noted || !t.again && t.Most > 1 {
		return nil
	}
	ctx := context.WithoutCancel(w.ctx)
	subject := w.attemptSubject(t)
	alive := map[string]bool{}
	for _, m := range w.node.Members() {
		alive[life(m.Name, m.Incarnation)] = true
	}
	for {
		rec, err := w.Server.store.Get(ctx, subject)
		if err != nil && !errors.Is(err, records.ErrAbsent) {
			return err
		}
		var by begunBy
		if err == nil && !rec.Gone && (json.Unmarshal(rec.Body, &by) != nil || by.Version != version) {
			by = begunBy{} // garbage: attempts are counted anew
		}
		t.died = 0
		for _, l := range by.Lives {
			if !alive[l] {
				t.died++
			}
		}
		me := life(w.node.Name(), w.node.Incarnation())
		if t.died+t.attempts >= t.Most || slices.Contains(by.Lives, me) {
			t.noted, t.note = true, rec.Seq
			return nil
		}
		body, _ := json.Marshal(begunBy{version, append(by.Lives, me), records.Nonce()})
		seq, err := w.Server.store.Put(ctx, subject, body, rec.Seq, keepApplied)
		if !errors.Is(err, records.ErrConflict) {
			t.noted, t.note = err == nil, seq
			return err
		}
	}
}

// forgetAttempts lets the record of a command that has ended expire at once. Why not in a day,
// as it does without an answer here: a queue that changes its owner often would leave hundreds
// each time.
func (w *worker) forgetAttempts(t *taken) {
	if t.note == 0 {
		return
	}
	body, _ := json.Marshal(begunBy{Version: version, Nonce: records.Nonce()})
	if _, err := w.Server.store.Put(context.WithoutCancel(w.ctx), w.attemptSubject(t), body, t.note, time.Second); err != nil {
		w.log.Debug("the attempts of a command that has ended stay for a day", "id", t.ID, "error", err)
	}
}

// attemptSubject is where the attempts of a command stand. No token of a name has a + in it, so
// it is not the mark of another queue; and keys that allow the mark allow it.
func (w *worker) attemptSubject(t *taken) string {
	return heldPrefix + records.Token(w.queue) + "+" + strconv.FormatUint(t.seq, 10)
}

func life(node string, incarnation uint64) string { return fmt.Sprint(node, "/", incarnation) }
