package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// serverLog hands the log of an embedded nats-server to hclog. While the server starts,
// a fatal message is not logged but kept: Open returns it as its error. The same warning
// is logged once a minute only: the server tries every second to reach a voter that is
// away.
type serverLog struct {
	log     hclog.Logger
	started atomic.Bool
	fatal   atomic.Pointer[string]
	full    atomic.Bool // the server could not write: its disk is full, see Engine.revive

	routeEnded chan struct{} // holds one when a route has ended since it was last read

	mu   sync.Mutex
	last map[string]time.Time // by complaint: there are as many as places that log
}

const complainAgain = time.Minute

func newServerLog(log hclog.Logger) *serverLog {
	return &serverLog{log: log, routeEnded: make(chan struct{}, 1)}
}

// Noticef, Debugf and Tracef are one level below the server's idea of them. Why the text
// is looked at: the server tells an embedding program in no other way that a route has
// ended. Were the text another one, the routes would be looked at four times a second only.
func (l *serverLog) Noticef(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Debug(text)
	if strings.Contains(text, "Router connection closed") {
		select {
		case l.routeEnded <- struct{}{}:
		default:
		}
	}
}

// Debugf logs what only somebody who debugs the server wants.
func (l *serverLog) Debugf(format string, v ...any) { l.log.Trace(fmt.Sprintf(format, v...)) }

// Tracef logs the traffic itself.
func (l *serverLog) Tracef(format string, v ...any) { l.log.Trace(fmt.Sprintf(format, v...)) }

// Warnf logs a warning, at most once a minute.
func (l *serverLog) Warnf(format string, v ...any) { l.seldom(hclog.Warn, format, v) }

// Errorf logs as a warning: the server calls an error what it goes on after, such
// as a route that cannot be connected yet.
func (l *serverLog) Errorf(format string, v ...any) { l.seldom(hclog.Warn, format, v) }

// Fatalf is called before the server gives up starting. It must not exit.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
	if l.started.Load() {
		l.log.Error(text)
	}
}

func (l *serverLog) seldom(level hclog.Level, format string, v []any) {
	for _, arg := range v {
		if err, ok := arg.(error); ok && errors.Is(err, syscall.ENOSPC) {
			l.full.Store(true)
		}
	}
	now, what := time.Now(), complaint(format)
	l.mu.Lock()
	if l.last == nil {
		l.last = map[string]time.Time{}
	}
	recent := now.Sub(l.last[what]) < complainAgain
	if !recent {
		l.last[what] = now
	}
	l.mu.Unlock()
	if !recent {
		l.log.Log(level, fmt.Sprintf(format, v...))
	}
}

// complaint is a format without the address of the client it is about, which the
// server puts in front: a client that is refused over and over is one complaint.
func complaint(format string) string {
	return format[strings.LastIndex(format, " - ")+1:]
}
