package subprocess

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

func TestNilCtx(t *testing.T) {
	testkit.InLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		var none context.Context
		p, err := ExecProcess(ctx, []string{"cat"}, WithStdin(Pipe), WithStdout(Pipe))
		if err != nil {
			return err
		}
		protocol := func() *BaseProtocol { return &BaseProtocol{} }
		supervision := Supervision{Start: func(ctx context.Context) (*Process, error) {
			return nil, errors.New("started without a ctx")
		}}
		for name, call := range map[string]func() error{
			"ExecProtocol":        func() error { _, _, err := ExecProtocol(none, protocol, []string{"true"}); return err },
			"ShellProtocol":       func() error { _, _, err := ShellProtocol(none, protocol, "true"); return err },
			"ExecProcess":         func() error { _, err := ExecProcess(none, []string{"true"}); return err },
			"ShellProcess":        func() error { _, err := ShellProcess(none, "true"); return err },
			"Process.Wait":        func() error { _, err := p.Wait(none); return err },
			"Process.Communicate": func() error { _, _, err := p.Communicate(none, []byte("lost")); return err },
			"Supervision.Run":     func() error { return supervision.Run(none) },
		} {
			err := call()
			if !errors.Is(err, loopnode.ErrNoRunningLoop) && !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("%s with a nil ctx: %v", name, err)
			} else if !strings.Contains(err.Error(), "ctx") {
				t.Errorf("%s with a nil ctx does not say what to pass: %v", name, err)
			}
			if _, ended := p.Returncode(); ended || p.Stdin.Transport().IsClosing() {
				t.Fatalf("%s with a nil ctx ended the child or its input", name)
			}
		}
		out, _, err := p.Communicate(ctx, []byte("kept"))
		if string(out) != "kept" || err != nil {
			t.Errorf("afterwards: %q, %v", out, err)
		}
		if len(*told) > 0 {
			t.Error(*told)
		}
		return nil
	})
}
