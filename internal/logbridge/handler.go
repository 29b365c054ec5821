package logbridge

import (
	"context"
	"log/slog"
	"slices"

	"github.com/hashicorp/go-hclog"
)

// Options of a handler made by Handler.
type Options struct {
	// Time adds the record's own time as the attribute "time": for an hclog
	// logger whose DisableTime is set, which would lose it.
	Time bool
	// Quieter lowers every level by one step, for libraries whose information is
	// a detail here.
	Quieter bool
}

// Handler is a slog.Handler that writes to an hclog logger: slog's levels
// become hclog's (below Debug is Trace), groups become dotted key prefixes,
// values are resolved. The handler may be used from any goroutine.
func Handler(to hclog.Logger, opts Options) slog.Handler {
	return &slogHandler{to: to, opts: opts}
}

// slogHandler never changes after it is made.
type slogHandler struct {
	to     hclog.Logger
	opts   Options
	prefix string // the open groups, each with a dot behind
	args   []any  // attributes of the handler, with their prefix
}

func (h *slogHandler) level(l slog.Level) hclog.Level {
	if h.opts.Quieter {
		l -= slog.LevelInfo - slog.LevelDebug
	}
	switch {
	case l < slog.LevelDebug:
		return hclog.Trace
	case l < slog.LevelInfo:
		return hclog.Debug
	case l < slog.LevelWarn:
		return hclog.Info
	case l < slog.LevelError:
		return hclog.Warn
	}
	return hclog.Error
}

// Enabled asks the hclog logger whether it writes that level.
func (h *slogHandler) Enabled(_ context.Context, l slog.Level) bool {
	at := h.to.GetLevel()
	return at != hclog.Off && h.level(l) >= at
}

// Handle writes one record.
func (h *slogHandler) Handle(_ context.Context, r slog.Record) error {
	args := slices.Clip(h.args)
	if h.opts.Time && !r.Time.IsZero() {
		args = append(args, slog.TimeKey, r.Time)
	}
	r.Attrs(func(a slog.Attr) bool {
		args = appendAttr(args, h.prefix, a)
		return true
	})
	h.to.Log(h.level(r.Level), r.Message, args...)
	return nil
}

// WithAttrs is the handler with attributes added to each record.
func (h *slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.args = slices.Clip(h.args)
	for _, a := range attrs {
		next.args = appendAttr(next.args, h.prefix, a)
	}
	return &next
}

// WithGroup is the handler whose later attributes stand in a group.
func (h *slogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.prefix += name + "."
	return &next
}

// appendAttr adds one attribute as key and value; groups are taken apart, and an
// empty attribute or group adds nothing.
func appendAttr(args []any, prefix string, a slog.Attr) []any {
	v := a.Value.Resolve()
	if a.Key == "" && v.Any() == nil {
		return args
	}
	if v.Kind() != slog.KindGroup {
		return append(args, prefix+a.Key, v.Any())
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, member := range v.Group() {
		args = appendAttr(args, prefix, member)
	}
	return args
}
