// Command loopmesh is cmd/node under the name that "go install" gives to a program: it
// runs nodes and shows what they do, with a chat and functions to try things with.
package main

import (
	"github.com/loopmesh/loopmesh/cluster/nodecmd"
	"github.com/loopmesh/loopmesh/cluster/nodecmd/otlp"
	"github.com/loopmesh/loopmesh/cmd/node/demo"
)

func main() {
	nodecmd.Main(
		nodecmd.WithService(nodecmd.Service{Name: "chat", About: "serve a chat for trials", Try: "nc HOST PORT", Start: demo.Chat}),
		nodecmd.WithExample(demo.Example),
		nodecmd.WithTracing(otlp.Tracing),
	)
}
