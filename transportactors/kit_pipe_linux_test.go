package transportactors_test

import (
	"context"
	"os"
	"testing"

	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/transporttest"
)

func TestContractOfPipes(t *testing.T) {
	transporttest.Run(t, transporttest.Kind{OneWay: true, Room: 1 << 20, Pair: func(ctx context.Context, here, there transportactors.Protocol) error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		if _, _, err := transportactors.ConnectReadPipe(ctx, func() transportactors.Protocol { return there }, r); err != nil {
			_ = w.Close()
			return err
		}
		_, _, err = transportactors.ConnectWritePipe(ctx, func() transportactors.Protocol { return here }, w)
		return err
	}})
}
