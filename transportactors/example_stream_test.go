package transportactors_test

import (
	"bufio"
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// A server with a task for each connection, and a client of it.
func ExampleStartServer() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		server, err := transportactors.StartServer(ctx, greet, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer server.Close()
		c, err := transportactors.OpenConnection(ctx, "tcp", server.Addrs()[0].String())
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprintln(c, "Ada")
		answer, err := bufio.NewReader(c).ReadString('\n')
		fmt.Print(answer)
		return err
	})
	fmt.Println(err)
	// Output:
	// hello, Ada
	// <nil>
}

func greet(_ context.Context, s *transportactors.Stream) error {
	name, err := bufio.NewReader(s).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(s, "hello, ", name)
	return err
}

// upper is a protocol that sends back what it gets, in capitals.
type upper struct{ t transportactors.Transport }

func (u *upper) ConnectionMade(t transportactors.Transport) { u.t = t }
func (u *upper) ConnectionLost(error)                       {}
func (u *upper) DataReceived(b []byte) {
	for i, c := range b { // the bytes are lent: changed in place, copied by Write
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	if err := u.t.Write(b); err != nil {
		u.t.Abort()
	}
}

// A server whose protocol is called by the loop, without a task.
func ExampleCreateServer() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		server, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return &upper{} }, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer server.Close()
		c, err := transportactors.OpenConnection(ctx, "tcp", server.Addrs()[0].String())
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprintln(c, "louder")
		answer, err := bufio.NewReader(c).ReadString('\n')
		fmt.Print(answer)
		return err
	})
	fmt.Println(err)
	// Output:
	// LOUDER
	// <nil>
}
