package admin

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A log whose levels can be changed while the node runs, and whose last lines can be read
// from elsewhere. Why: what a node would have said at debug level is wanted after something
// went wrong, and a restart takes the state away that made it go wrong.
//
// How it is made of hclog: an InterceptLogger hands every message, with the name of its
// logger, to a sink; the sink is Log. It looks for the level of the module and writes what
// is to be written. The logger itself writes nowhere; its own level is the lowest of all,
// because code asks a logger whether a message is wanted before it makes one.
//
// What a message costs that is not written: a lock and a walk over the levels that were
// set, below a microsecond. Nothing of this module logs for each call or each connection
// above trace level.

// Bounds of a Log: what is kept, and how much of it is told in one answer, which has to fit
// into a message.
const (
	maxLines     = 1000
	maxLineBytes = 4 << 10
	maxTold      = 512 << 10 // bytes of lines
	maxModules   = 256       // that are remembered, and for which a level can be set
)

// What is kept is text as it was written, cut at a few kilobytes: the stack of a panic fits,
// a payload that somebody logs does not fill the ring. When the ring is full an eighth goes at
// once, as with events.
// LogLine is a line of a node's log.
type LogLine struct {
	// NODE/log/NUMBER; the numbers of a node count up.
	ID     string    `json:"id"`
	Node   string    `json:"node"`
	Time   time.Time `json:"time"`
	Level  string    `json:"level"`
	Module string    `json:"module"`
	Text   string    `json:"text"`
}

// LogLevel is from which level on a module logs. Set is false for a module that has that
// of all others.
type LogLevel struct {
	// NODE/MODULE.
	ID     string `json:"id"`
	Node   string `json:"node"`
	Module string `json:"module"`
	Level  string `json:"level"`
	Set    bool   `json:"set"`
}

// Two locks meet here. hclog holds its own while it hands a message to a sink, so messages
// come one at a time; mu guards what Set and the questions share with that. mu is never held
// while hclog is called with a message, so a writer that blocks keeps no question waiting.
// Log is the log of one node, or of several in one process. NewLog makes one; its methods
// are safe from any goroutine. A module is the name of a hclog logger behind the first dot:
// "loop", "nats", "admin".
type Log struct {
	root  hclog.InterceptLogger
	write hclog.SinkAdapter

	mu      sync.Mutex
	levels  map[string]hclog.Level // by module; "": of all others
	modules map[string]bool        // that have said something, at any level
	lines   []LogLine
	last    uint64
	now     LogLine // the message that is being written
}

// NewLog makes a log that writes to out from level on, without colour. name begins the name
// of each logger.
func NewLog(name string, out io.Writer, level hclog.Level) *Log {
	l := &Log{levels: map[string]hclog.Level{"": level}, modules: map[string]bool{}}
	l.root = hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: name, Output: io.Discard, Level: level, Exclude: nothing})
	l.write = hclog.NewSinkAdapter(&hclog.LoggerOptions{Output: io.MultiWriter(out, (*kept)(l)), Level: hclog.Trace, Color: hclog.ColorOff})
	l.root.RegisterSink(l)
	return l
}

// nothing keeps the logger from writing what it would write nowhere.
func nothing(hclog.Level, string, ...any) bool { return true }

// Logger is for cluster.Config.Logger, WithLogger and the program itself.
func (l *Log) Logger() hclog.Logger { return l.root }

// Set makes a module log from a level on; "" is all that have none of their own, and
// hclog.NoLevel takes the module's own level away. Error: kind BadRequest for a module that
// nobody would recognise.
func (l *Log) Set(module string, level hclog.Level) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.levels[module]
	switch {
	case len(module) > maxModuleName || strings.ContainsFunc(module, func(r rune) bool { return r <= ' ' || r > '~' }):
		return &Error{Kind: BadRequest, Message: fmt.Sprintf("%q is no name of a module", module), Hint: `"loopmesh log levels" lists those that there are`}
	case level == hclog.NoLevel && module == "":
		return &Error{Kind: BadRequest, Message: "the level of all modules cannot be taken away", Hint: "set it to warn, or to off"}
	case level == hclog.NoLevel:
		delete(l.levels, module)
	case !known && len(l.levels) >= maxModules:
		return &Error{Kind: Refused, Message: fmt.Sprintf("%d modules have a level of their own, no more can", maxModules), Hint: "take one away with the level 'default'"}
	default:
		l.levels[module] = level
	}
	lowest := hclog.Off
	for _, have := range l.levels {
		lowest = min(lowest, have)
	}
	l.root.SetLevel(lowest)
	return nil
}

const maxModuleName = 128

// Accept takes a message of any module; hclog calls it.
func (l *Log) Accept(name string, level hclog.Level, msg string, args ...any) {
	module := moduleOf(name)
	l.mu.Lock()
	if len(l.modules) < maxModules {
		l.modules[module] = true
	}
	at, _ := l.levelOf(module)
	l.mu.Unlock()
	if level < at {
		return
	}
	// hclog holds the lock of the logger and its names while it calls this, so there is one
	// message at a time.
	l.now = LogLine{Time: time.Now().UTC(), Level: level.String(), Module: module}
	l.write.Accept(name, level, msg, args...)
}

// The first part is the program's name and the same everywhere; a message of the program's own
// root logger has no other part and keeps it.
// moduleOf is the name of a logger without that of the program.
func moduleOf(name string) string {
	if _, module, ok := strings.Cut(name, "."); ok {
		return module
	}
	return name
}

// Why the longest: "n1.loop" says more than "loop", and whoever set both meant the exception by
// the longer one. Two of one length that both fit are settled by the lower level, so that the
// order of a map decides nothing.
// levelOf is the level of a module: that of the longest module that was set and is the
// module itself or a part of its name at its end or its beginning ("nats" is "n1.nats", when
// several nodes of a process share a log). l.mu is held.
func (l *Log) levelOf(module string) (level hclog.Level, set bool) {
	level, longest := l.levels[""], -1
	for m, have := range l.levels {
		fits := m != "" && (m == module || strings.HasSuffix(module, "."+m) || strings.HasPrefix(module, m+"."))
		if fits && (len(m) > longest || len(m) == longest && have < level) {
			level, longest = have, len(m)
		}
	}
	return level, longest >= 0
}

// kept is the Log as the writer that keeps lines.
type kept Log

// Write keeps one message, as it is printed. hclog writes each message at once.
func (k *kept) Write(text []byte) (int, error) {
	l := (*Log)(k)
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.now
	line.Text = strings.ToValidUTF8(string(text[:min(len(text), maxLineBytes)]), "?")
	line.Text = strings.TrimSuffix(line.Text, "\n")
	l.last++
	line.ID = itoa(l.last)
	if len(l.lines) == maxLines {
		l.lines = slices.Delete(l.lines, 0, maxLines/8)
	}
	l.lines = append(l.lines, line)
	return len(text), nil
}

// From the end, since the newest are wanted, until one of the bounds is reached; then they are
// turned round. more tells a reader that the first line is not the first one.
// tail are the newest lines of modules whose name contains module, most of them, oldest
// first, and whether there were more.
func (l *Log) tail(node, module string, most int) (out []LogLine, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 0
	for i := len(l.lines) - 1; i >= 0; i-- {
		line := l.lines[i]
		if !strings.Contains(line.Module, module) {
			continue
		}
		size += len(line.Text)
		if len(out) == most || size > maxTold {
			more = true
			break
		}
		line.Node, line.ID = node, node+"/log/"+line.ID
		out = append(out, line)
	}
	slices.Reverse(out)
	return out, more
}

// A module is known from its first message on, at whatever level: what has been silent since
// the start can be set by its name all the same.
// list are the levels of all modules that are known, by name, "*" the first: that of all
// others.
func (l *Log) list(node string) []LogLevel {
	l.mu.Lock()
	defer l.mu.Unlock()
	item := func(module string, level hclog.Level, set bool) LogLevel {
		return LogLevel{ID: node + "/" + module, Node: node, Module: module, Level: level.String(), Set: set}
	}
	var modules []string
	for m := range l.modules {
		modules = append(modules, m)
	}
	for m := range l.levels {
		if m != "" {
			modules = append(modules, m)
		}
	}
	slices.Sort(modules)
	out := []LogLevel{item("*", l.levels[""], true)}
	for _, m := range slices.Compact(modules) {
		level, set := l.levelOf(m)
		out = append(out, item(m, level, set))
	}
	return out
}
