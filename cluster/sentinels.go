package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// expired is ErrExpired and context.DeadlineExceeded at once.
type expired struct{}

func (expired) Error() string   { return ErrExpired.Error() }
func (expired) Unwrap() []error { return []error{ErrExpired, context.DeadlineExceeded} }

// named are the errors that keep their identity across nodes.
var named = sentinelList{byName: map[string]error{}}

type sentinelList struct {
	mu     sync.RWMutex
	byName map[string]error
	order  []string // as registered: the first that matches names the error
}

// RegisterError makes errors.Is(err, target) work on the calling node when a
// function on another node returns target or wraps it. Both programs register
// it under the same name, usually in a package variable's place beside the error:
//
//	var ErrPoor = cluster.RegisterError("bank.poor", errors.New("not enough money"))
//
// It returns target and panics when the name is taken, like http.Handle.
func RegisterError(name string, target error) error {
	named.mu.Lock()
	defer named.mu.Unlock()
	if name == "" || len(name) > wire.MaxName || target == nil {
		panic(fmt.Sprintf("cluster: RegisterError(%q, %v): needs a name of 1 to %d bytes and an error", name, target, wire.MaxName))
	}
	if _, taken := named.byName[name]; taken || builtin(name) != nil {
		panic(fmt.Sprintf("cluster: an error named %q is registered already; choose another name", name))
	}
	named.byName[name] = target
	named.order = append(named.order, name)
	return target
}

// builtins are known without registration.
var builtins = []struct {
	name string
	err  error
}{
	{"io.EOF", io.EOF},
	{"io.ErrUnexpectedEOF", io.ErrUnexpectedEOF},
	{"context.DeadlineExceeded", context.DeadlineExceeded},
	{"context.Canceled", context.Canceled},
	{"errors.ErrUnsupported", errors.ErrUnsupported},
	{"transportactors.ErrClosed", transportactors.ErrClosed},
	{"transportactors.ErrWriteEOF", transportactors.ErrWriteEOF},
	{"loopnode.ErrGoexit", loopnode.ErrGoexit},
	{"actors.ErrUnknown", actors.ErrUnknown},
	{"actors.ErrMailboxFull", actors.ErrMailboxFull},
	{"actors.ErrShutdown", actors.ErrShutdown},
	{"actors.ErrTooManyRestarts", actors.ErrTooManyRestarts},
}

func builtin(name string) error {
	for _, b := range builtins {
		if b.name == name {
			return b.err
		}
	}
	return nil
}

func (l *sentinelList) find(name string) error {
	if name == "" {
		return nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err, ok := l.byName[name]; ok {
		return err
	}
	return builtin(name)
}

func (l *sentinelList) nameOf(err error) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, name := range l.order {
		if errors.Is(err, l.byName[name]) {
			return name
		}
	}
	for _, b := range builtins {
		if errors.Is(err, b.err) {
			return b.name
		}
	}
	return ""
}

// describe puts err into an Error or Terminated frame.
func describe(f *wire.Frame, err error) {
	f.Code, f.Message = wire.User, err.Error()
	var own *coded
	var panicked *guard.Panic
	switch {
	case errors.As(err, &own):
		f.Code = own.code
	case errors.As(err, &panicked):
		f.Code, f.Message = wire.Panicked, panicText(panicked.Value)
	case errors.Is(err, loopnode.ErrCancelled):
		f.Code = wire.Cancelled
	case errors.Is(err, ErrStopped):
		f.Code = wire.Stopped
	case errors.Is(err, ErrLoopDied):
		f.Code = wire.LoopDied
	case errors.Is(err, ErrNodeDown):
		f.Code = wire.NodeDown
	default:
		f.Sentinel = named.nameOf(err)
	}
}

// describeEnd puts the reason of an end into a Terminated frame.
func describeEnd(f *wire.Frame, why error) {
	f.Code, f.Message = wire.Stopped, why.Error()
	if errors.Is(why, ErrLoopDied) {
		f.Code = wire.LoopDied
	}
}

// panicText is what of a panic may leave the process: the text of an error or a
// string, of everything else only its type. A value printed with its fields
// could carry whatever the program holds in memory.
func panicText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case error:
		return v.Error()
	}
	return fmt.Sprintf("a value of type %T", v)
}

// remoteError is the error a frame carries.
func remoteError(target, function string, f *wire.Frame) *RemoteError {
	return &RemoteError{Target: target, Function: function, Message: f.Message, code: f.Code, sentinel: named.find(f.Sentinel)}
}
