package lookup_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
)

// Addresses are answered at once; a name would ask the loop's Resolver, while the loop
// goes on.
func ExampleGetaddrinfo() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		found, err := lookup.Getaddrinfo(ctx, "127.0.0.1", "8080", lookup.Hints{Type: syscall.SOCK_STREAM})
		if err != nil {
			return err
		}
		for _, a := range found {
			fmt.Println(a.Addr)
		}
		_, err = lookup.Getaddrinfo(ctx, "no address", "", lookup.Hints{Flags: lookup.AINumericHost})
		var refused *lookup.Error
		fmt.Println(errors.As(err, &refused))
		return nil
	})
	fmt.Println(err)
	// Output:
	// 127.0.0.1:8080
	// true
	// <nil>
}

// With numeric flags nobody is asked.
func ExampleGetnameinfo() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		host, service, err := lookup.Getnameinfo(ctx, netip.MustParseAddrPort("[::1]:443"), lookup.NINumericHost|lookup.NINumericServ)
		fmt.Println(host, service)
		return err
	})
	fmt.Println(err)
	// Output:
	// ::1 443
	// <nil>
}
