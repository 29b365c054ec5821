package topics_test

import (
	"context"
	"fmt"
	"log"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/topics"
)

type line struct{ From, Text string }

func Example() {
	n, err := cluster.Start(context.Background(), cluster.Config{Name: "n1", Logger: hclog.NewNullLogger()})
	check(err)
	defer n.Close()
	loop, err := n.NewLoop("io-0")
	check(err)

	room := topics.Named[line]("room.1")
	done := make(chan struct{})
	_, err = room.Subscribe(n, loop, func(m topics.Message[line]) {
		fmt.Printf("%s: %s\n", m.Value.From, m.Value.Text)
		close(done)
	}, topics.OnGap(func(g topics.Gap) { fmt.Println("missed", g.Missed, g.Reason) }))
	check(err)
	check(room.Publish(n, line{"ann", "hello"}))
	<-done
	// Output: ann: hello
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
