package subprocess

import (
	"context"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestTransportsAreTheChildrenThatLive(t *testing.T) {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		p, err := ExecProcess(ctx, []string{"cat"}, WithStdin(Pipe))
		if err != nil {
			return err
		}
		all := Transports(l)
		if len(all) != 1 || all[0].PID() != p.PID() {
			t.Errorf("%v while %d lives", all, p.PID())
		}
		if err := p.Kill(); err != nil {
			return err
		}
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
		for len(Transports(l)) > 0 {
			if err := loopnode.Sleep(ctx, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
