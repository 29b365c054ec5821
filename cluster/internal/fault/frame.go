package fault

import (
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Frame is the Error frame that answers the request id with err.
func Frame(id uint64, err error) *wire.Frame {
	f := &wire.Frame{Kind: wire.Error, ID: id}
	Describe(f, err)
	return f
}

// Describe puts err into the error fields of a frame. err may be of a user's type whose
// methods panic, also on a nil pointer in an error: whoever waits for it is told all the same.
func Describe(f *wire.Frame, err error) {
	f.Code, f.Message = wire.User, textOf(err)
	if p := guard.Call(func() { describeKind(f, err) }); p != nil {
		f.Code, f.Sentinel = wire.User, ""
	}
}

// textOf is the text of an error whose Error may panic.
func textOf(err error) (text string) {
	if p := guard.Call(func() { text = err.Error() }); p != nil {
		return fmt.Sprintf("an error of type %T, whose Error panics", err)
	}
	return text
}

var errProbe = errors.New("no error is this one")

// Readable is err, unless its methods panic: then an error that says so. Every error that a
// function of a user returns passes through it, because many look at it later, where a panic
// would end a goroutine that others wait for, or the process.
func Readable(err error) error {
	if err == nil {
		return nil
	}
	var p *guard.Panic
	if guard.Call(func() { _, _, _ = err.Error(), errors.Is(err, errProbe), errors.As(err, &p) }) != nil {
		return fmt.Errorf("an error of type %T, whose methods panic", err)
	}
	return err
}

// describeKind says what err is, when it is something that the other side knows.
func describeKind(f *wire.Frame, err error) {
	var own *coded
	panicked, ok := err.(*guard.Panic) //nolint:errorlint // before a method of what it panicked with is asked
	switch {
	case ok:
		f.Code, f.Message = wire.Panicked, PanicText(panicked.Value)
	case errors.As(err, &own):
		f.Code = own.code
	case errors.As(err, &panicked):
		f.Code, f.Message = wire.Panicked, PanicText(panicked.Value)
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

// DescribeEnd puts the reason why something ended into a Terminated frame. What a
// loop died of comes second: it may itself be an error with a code.
func DescribeEnd(f *wire.Frame, why error) {
	Describe(f, why)
	died := false
	if p := guard.Call(func() { died = errors.Is(why, ErrLoopDied) }); p == nil && died {
		f.Code, f.Sentinel = wire.LoopDied, ""
	}
}

// PanicText is what of a panic may leave the process: the text of an error or a
// string, of everything else only its type. A value printed with its fields
// could carry whatever the program holds in memory.
func PanicText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case error:
		return textOf(v)
	}
	return fmt.Sprintf("a value of type %T", v)
}

// End is the reason that a Terminated frame carries. An end without a failure is
// ErrStopped itself, as it is on the node where it happened.
func End(target string, f *wire.Frame) error {
	if f.Code == wire.Stopped && f.Message == ErrStopped.Error() {
		return ErrStopped
	}
	return FromFrame(target, "", f)
}

// FromFrame is the error that a frame carries.
func FromFrame(target, function string, f *wire.Frame) *RemoteError {
	return &RemoteError{Target: target, Function: function, Message: f.Message, code: f.Code, sentinel: named.find(f.Sentinel)}
}
