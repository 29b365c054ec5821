package engine

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
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

	mu   sync.Mutex
	last map[string]time.Time // by complaint: there are as many as places that log
}

const complainAgain = time.Minute

// Noticef, Debugf and Tracef are one level below the server's idea of them.
func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

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
