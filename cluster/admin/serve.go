package admin

import (
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
)

// The one call for a program that has a command line of its own and embeds a node: after
// Serve, the commands of any program built on package nodecmd find the node by its
// socket. A program that is nothing but a node uses nodecmd.Main, which does the same.

// Option says how Serve opens the API.
type Option func(*serveOptions)

type serveOptions struct {
	log                   hclog.Logger
	socket, tcp, tcpToken string
}

// WithLogger is where the API logs; default: nowhere.
func WithLogger(log hclog.Logger) Option { return func(o *serveOptions) { o.log = log } }

// WithSocket is the path of the unix socket; default Path of the node's name, where the
// commands look for it.
func WithSocket(path string) Option { return func(o *serveOptions) { o.socket = path } }

// WithTCP takes requests over TCP, too; see Server.ListenTCP.
func WithTCP(address, token string) Option {
	return func(o *serveOptions) { o.tcp, o.tcpToken = address, token }
}

// Serve opens the API of a node that a program has started, with its socket, so that
// the commands of any program built on package nodecmd can look into it: Open and
// Listen in one call. Close the server before the node. It does not wait for requests;
// any goroutine. Errors: those of Open, Listen and ListenTCP; then nothing is left open
// but the loop LoopName, which ends with the node.
func Serve(node *cluster.Node, opts ...Option) (*Server, error) {
	if node == nil {
		return nil, fmt.Errorf("%w: Serve needs a node, not nil", cluster.ErrConfig)
	}
	o := serveOptions{log: hclog.NewNullLogger(), socket: Path(node.Name())}
	for _, set := range opts {
		set(&o)
	}
	s, err := Open(node, o.log)
	if err != nil {
		return nil, err
	}
	if o.tcp != "" {
		_, err = s.ListenTCP(o.tcp, o.tcpToken)
	}
	if err == nil {
		err = s.Listen(o.socket)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
