package transportactors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestLoopCloseIsWhole(t *testing.T) {
	t.Run("a loop that closes ends every connection, whatever the protocols of the others do", func(t *testing.T) {
		leaves := map[string]func(){
			"runtime.Goexit": runtime.Goexit,
			"a fatal panic":  func() { panic(loopnode.Fatal(errors.New("over"))) },
		}
		for how, leave := range leaves {
			t.Run(how, func(t *testing.T) { closesAll(t, leave) })
		}
	})
}

func closesAll(t *testing.T, leave func()) {
	var all []*probe
	var s *Server
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) (err error) {
		add := func() *probe {
			p := newProbe(ctx)
			p.onLost = func(error) { leave() }
			all = append(all, p)
			return p
		}
		if s, err = CreateServer(ctx, func() Protocol { return add() }, "tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		for range 4 {
			if _, _, err := CreateConnection(ctx, add, "tcp", s.Addrs()[0].String()); err != nil {
				return err
			}
		}
		return until(ctx, func() bool { return len(all) == 8 && all[7].t != nil && all[6].t != nil })
	})
	for i, p := range all {
		if got, fd := fmt.Sprint(p.log), p.t.ExtraInfo("socket").(*Socket).FD(); got != "[made lost]" || fd != -1 {
			t.Errorf("connection %d: %s, descriptor %d", i, got, fd)
		}
	}
	if s.IsServing() {
		t.Error("the server still serves")
	}
}
