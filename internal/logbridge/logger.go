// Package logbridge joins the two ways to log: hclog inside of the module, slog
// or hclog outside of it, as the program likes.
//
// Every Config of the module has the fields Logger (hclog) and Slog. Logger
// makes of the two the one hclog logger that the code behind the Config uses.
// Handler is the other direction: a library that wants slog writes to hclog.
package logbridge

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"os"

	"github.com/hashicorp/go-hclog"
)

// ErrTwoLoggers: a Config gives both loggers; it is not clear which one is meant.
var ErrTwoLoggers = errors.New("Logger and Slog are both set: set one of them")

// Logger is the logger of a Config: h as it is, or one that writes to s. With
// neither, a library embedded in a program stays silent below WARN; the rest goes
// to stderr under name. The error is ErrTwoLoggers.
func Logger(h hclog.Logger, s *slog.Logger, name string) (hclog.Logger, error) {
	switch {
	case h != nil && s != nil:
		return nil, ErrTwoLoggers
	case h != nil:
		return h, nil
	case s != nil:
		return &toSlog{to: s, name: name}, nil
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Warn, Output: os.Stderr}), nil
}

// toSlog is an hclog logger whose records go to slog. It never changes after it
// is made: the level is the slog handler's, so SetLevel does nothing. Any
// goroutine.
type toSlog struct {
	to      *slog.Logger
	name    string // the attribute "logger" of each record
	implied []any  // what With added
}

// slogLevel is hclog's level in slog's scale; below Debug slog has numbers only.
func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Trace:
		return slog.LevelDebug - 4
	case hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// Log writes one record.
func (l *toSlog) Log(level hclog.Level, msg string, args ...any) {
	ctx, at := context.Background(), slogLevel(level)
	if level == hclog.Off || !l.to.Enabled(ctx, at) {
		return
	}
	all := make([]any, 0, 2+len(l.implied)+len(args))
	if l.name != "" {
		all = append(all, "logger", l.name)
	}
	l.to.Log(ctx, at, msg, append(append(all, l.implied...), args...)...)
}

func (l *toSlog) enabled(level hclog.Level) bool {
	return l.to.Enabled(context.Background(), slogLevel(level))
}

// Trace writes at slog.LevelDebug-4.
func (l *toSlog) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }

// Debug writes at slog.LevelDebug.
func (l *toSlog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }

// Info writes at slog.LevelInfo.
func (l *toSlog) Info(msg string, args ...any) { l.Log(hclog.Info, msg, args...) }

// Warn writes at slog.LevelWarn.
func (l *toSlog) Warn(msg string, args ...any) { l.Log(hclog.Warn, msg, args...) }

// Error writes at slog.LevelError.
func (l *toSlog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

// IsTrace asks the slog handler.
func (l *toSlog) IsTrace() bool { return l.enabled(hclog.Trace) }

// IsDebug asks the slog handler.
func (l *toSlog) IsDebug() bool { return l.enabled(hclog.Debug) }

// IsInfo asks the slog handler.
func (l *toSlog) IsInfo() bool { return l.enabled(hclog.Info) }

// IsWarn asks the slog handler.
func (l *toSlog) IsWarn() bool { return l.enabled(hclog.Warn) }

// IsError asks the slog handler.
func (l *toSlog) IsError() bool { return l.enabled(hclog.Error) }

// ImpliedArgs is what With added.
func (l *toSlog) ImpliedArgs() []any { return l.implied }

// With is a logger whose records carry args too.
func (l *toSlog) With(args ...any) hclog.Logger {
	next := *l
	next.implied = append(append([]any(nil), l.implied...), args...)
	return &next
}

// Name is what Named has built up.
func (l *toSlog) Name() string { return l.name }

// Named is a logger whose name is this one's, a dot and name.
func (l *toSlog) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

// ResetNamed is a logger of that name.
func (l *toSlog) ResetNamed(name string) hclog.Logger {
	next := *l
	next.name = name
	return &next
}

// SetLevel does nothing: the slog handler decides.
func (l *toSlog) SetLevel(hclog.Level) {}

// GetLevel is the lowest level that the slog handler writes.
func (l *toSlog) GetLevel() hclog.Level {
	for _, level := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn, hclog.Error} {
		if l.enabled(level) {
			return level
		}
	}
	return hclog.Off
}

// StandardLogger is a logger of package log that writes here.
func (l *toSlog) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(o), "", 0)
}

// StandardWriter writes each line as a record, at o.ForceLevel or Info.
func (l *toSlog) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	level := hclog.Info
	if o != nil && o.ForceLevel != hclog.NoLevel {
		level = o.ForceLevel
	}
	return lineWriter{l, level}
}

type lineWriter struct {
	to    *toSlog
	level hclog.Level
}

// Write logs p, without its line feed.
func (w lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && p[len(p)-1] == '\n' {
		p = p[:len(p)-1]
	}
	w.to.Log(w.level, string(p))
	return n, nil
}
