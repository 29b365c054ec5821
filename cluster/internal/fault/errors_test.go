package fault

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
)

func TestWhatErrorsSay(t *testing.T) {
	cases := map[string]*RemoteError{
		"f on n2/io-0: unknown loop: node n2 has no loop": {Target: "n2/io-0", Function: "f", Message: "node n2 has no loop", code: wire.UnknownLoop},
		"n9/admin: unknown node":                          {Target: "n9/admin", Function: "loopmesh.order.drain", code: wire.UnknownNode},
		"n2: deadline passed":                             {Target: "n2", Message: "deadline passed", code: wire.Expired},
		"n2: payload too large":                           {Target: "n2", code: wire.TooLarge},
		"n2: my own words":                                {Target: "n2", Message: "my own words", code: wire.User},
		"n2: from the future":                             {Target: "n2", Message: "from the future", code: 999},
	}
	for want, err := range cases {
		if got := fmt.Sprint(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestWhatOfAPanicLeavesTheProcess: texts do, values only as their type: a value printed
// with its fields could carry whatever the program holds in memory.
func TestWhatOfAPanicLeavesTheProcess(t *testing.T) {
	type account struct{ Password string }
	for want, v := range map[string]any{"a text": "a text", "an error": errors.New("an error"), "a value of type fault.account": account{"secret"}} {
		if got := PanicText(v); got != want || strings.Contains(got, "secret") {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f := Frame(7, &guard.Panic{Value: account{"secret"}})
	if f.Code != wire.Panicked || strings.Contains(f.Message, "secret") {
		t.Errorf("the frame says %d %q", f.Code, f.Message)
	}
}

type broken struct{}

func (*broken) Error() string   { panic("Error") }
func (*broken) Is(error) bool   { panic("Is") }
func (*broken) Unwrap() []error { panic("Unwrap") }

type pointed struct{ name string }

func (e *pointed) Error() string { return e.name }

func TestAnErrorWhoseMethodsPanicIsDescribed(t *testing.T) {
	var none *pointed // the usual mistake: a nil pointer in an error
	for want, err := range map[string]error{
		"an error of type *fault.broken, whose Error panics":  &broken{},
		"an error of type *fault.pointed, whose Error panics": none,
	} {
		f := Frame(7, err)
		if f.Code != wire.User || f.Message != want || f.Sentinel != "" {
			t.Errorf("code %d, %q, sentinel %q", f.Code, f.Message, f.Sentinel)
		}
		if got := Readable(err); got == err || !strings.Contains(got.Error(), "methods panic") { //nolint:errorlint // this very one
			t.Errorf("readable: %v", got)
		}
		DescribeEnd(f, err)
		if f = Frame(7, &guard.Panic{Value: err}); f.Message != want {
			t.Errorf("a panic with it: %q", f.Message)
		}
		if f = Frame(7, fmt.Errorf("more: %w", err)); !strings.HasPrefix(f.Message, "more: ") {
			t.Errorf("wrapped: %q", f.Message)
		}
	}
}
