package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// Errors that keep their identity. A frame carries an error as a code, a text and,
// where there is one, a name. The name stands for a value that both programs know: a
// registered error of theirs, or one of the builtins. The reader wraps the value of
// that name, so errors.Is finds it there. A name that the reader does not know leaves
// the text.

// named are the errors of users that keep their identity across nodes. One table
// for the process: package variables register in it before any node exists.
var named = namedErrors{byName: map[string]error{}}

type namedErrors struct {
	mu     sync.RWMutex
	byName map[string]error
	order  []string // as registered: the first that matches names the error
}

// Register gives target a name under which it travels. It returns target and
// panics when the name is taken or cannot travel.
func Register(name string, target error) error {
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

// builtins are known without registration. Names are part of the wire format.
var builtins = []struct {
	name string
	err  error
}{
	{"io.EOF", io.EOF},
	{"io.ErrUnexpectedEOF", io.ErrUnexpectedEOF},
	{"loopnode.ErrTimeout", loopnode.ErrTimeout}, // before what it is as well
	{"context.DeadlineExceeded", context.DeadlineExceeded},
	{"context.Canceled", context.Canceled},
	{"errors.ErrUnsupported", errors.ErrUnsupported},
	{"transportactors.ErrClosed", transportactors.ErrClosed},
	{"transportactors.ErrWriteEOF", transportactors.ErrWriteEOF},
	{"transportactors.ErrWriteLimit", transportactors.ErrWriteLimit},
	{"transportactors.ErrNoWriteEOF", transportactors.ErrNoWriteEOF},
	{"transportactors.ErrSendfile", transportactors.ErrSendfile},
	{"loopnode.ErrLoopClosed", loopnode.ErrLoopClosed},
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

// find gives the value of a name; nil when this program does not know it.
func (l *namedErrors) find(name string) error {
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

// nameOf gives the name under which err travels. Users' errors come before builtins:
// they say more about the same failure. The order of registration decides among
// several that match.
func (l *namedErrors) nameOf(err error) string {
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
