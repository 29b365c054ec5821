package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// talker is a user that connects again, sends again what was not accepted, and knows the
// messages it has by their ids: what client.mjs does, for tests that ask for more.
type talker struct {
	user  string
	nodes []string
	next  int

	mu   sync.Mutex
	free *sync.Cond         // there is room for another message, or the end
	peer *peer              // nil: it is away
	wait map[string]request // by id: not accepted yet
	done map[string]bool    // texts that were accepted

	known   map[string]bool // messages that came, by sender and id
	came    []string        // texts that the application was given
	again   int             // messages that came and were known
	moves   int
	longest time.Duration // that it was away
}

func newTalker(user string, nodes []string, first int) *talker {
	w := &talker{user: user, nodes: nodes, next: first, wait: map[string]request{}, done: map[string]bool{}, known: map[string]bool{}}
	w.free = sync.NewCond(&w.mu)
	return w
}

// live stays connected until ctx ends, to the nodes in turn.
func (w *talker) live(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.peer != nil {
			_ = w.peer.Close()
		}
		w.free.Broadcast()
	})()
	away := time.Now()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil {
		p, err := dial(w.nodes[w.next%len(w.nodes)], w.user)
		w.next++
		if err != nil {
			<-again.C
			continue
		}
		w.begin(ctx, p, time.Since(away))
		for err == nil {
			var e event
			if e, err = p.hear(); err == nil {
				w.hear(e)
			}
		}
		away = time.Now()
		w.mu.Lock()
		w.peer = nil
		w.moves++
		w.mu.Unlock()
		_ = p.Close()
	}
}

// begin sends what was not accepted.
func (w *talker) begin(ctx context.Context, p *peer, away time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest = max(w.longest, away)
	w.peer = p
	if ctx.Err() != nil || p.SetDeadline(time.Time{}) != nil {
		_ = p.Close()
	}
	for _, r := range w.wait {
		_ = p.ask(r) // the reader hears of it when the connection is lost
	}
}

func (w *talker) hear(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Is {
	case "ack":
		if r, open := w.wait[e.ID]; open {
			delete(w.wait, e.ID)
			w.done[r.Text] = true
			w.free.Broadcast()
		}
	case "nack":
		if r, open := w.wait[e.ID]; open {
			_ = w.peer.ask(r)
		}
	case "message":
		if w.known[key(e.From, e.ID)] {
			w.again++
		} else {
			w.known[key(e.From, e.ID)] = true
			w.came = append(w.came, e.Text)
		}
		_ = w.peer.ask(request{Do: "got", From: e.From, ID: e.ID})
	}
}

// talk sends messages to others in turn, with at most four that are not accepted.
func (w *talker) talk(ctx context.Context, to ...string) {
	defer context.AfterFunc(ctx, w.free.Broadcast)()
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := 0; ; n++ {
		for ctx.Err() == nil && len(w.wait) >= 4 {
			w.free.Wait()
		}
		if ctx.Err() != nil {
			return
		}
		r := request{Do: "send", ID: fmt.Sprint("m", n), To: to[n%len(to)], Text: fmt.Sprint(w.user, " says ", n)}
		w.wait[r.ID] = r
		if w.peer != nil {
			_ = w.peer.ask(r)
		}
	}
}

func (w *talker) accepted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done)
}

func (w *talker) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wait)
}
