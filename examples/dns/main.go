// Command dns answers questions about a few names over UDP: addresses from a
// hosts file, and the asker's own address for "whoami.". The messages are
// golang.org/x/net/dns/dnsmessage's.
//
//	printf '192.0.2.7 printer.home\n' > hosts.txt
//	go run ./examples/dns -at 127.0.0.1:5300 -hosts hosts.txt
//	dig -p 5300 @127.0.0.1 printer.home
//	dig -p 5300 @127.0.0.1 whoami TXT +short
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

func main() {
	at := flag.String("at", "127.0.0.1:5300", "where to listen")
	hosts := flag.String("hosts", "", "a file with lines of an address and names")
	flag.Parse()
	if err := run(context.Background(), *at, *hosts, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dns:", err)
		os.Exit(1)
	}
}

// run answers until ctx ends or the program is interrupted.
func run(ctx context.Context, at, hosts string, out io.Writer) error {
	zone, err := readHosts(hosts)
	if err != nil {
		return err
	}
	err = loopnode.Run(ctx, func(ctx context.Context) error {
		t, _, err := transportactors.CreateDatagramEndpoint(ctx, func() *server { return &server{zone: zone} }, "udp", at, "")
		if err != nil {
			return err
		}
		defer t.Close()
		fmt.Fprintln(out, "listening on", t.ExtraInfo("sockname"))
		return loopnode.WaitDone(ctx)
	})
	if errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, loopnode.ErrInterrupted) {
		return nil
	}
	return err
}

// server answers each datagram by itself: there is no state to keep.
type server struct {
	zone zone
	t    transportactors.DatagramTransport
}

func (s *server) ConnectionMade(t transportactors.DatagramTransport) { s.t = t }
func (s *server) ErrorReceived(error)                                {} // somebody who asked is gone
func (s *server) ConnectionLost(error)                               {}

func (s *server) DatagramReceived(data []byte, from transportactors.Addr) {
	if reply := s.zone.answer(data, from.AddrPort()); reply != nil {
		_ = s.t.SendTo(reply, from) // a lost answer is asked for again
	}
}

// zone is the addresses of names, which are in lower case and end in a dot.
type zone map[string][]netip.Addr

// readHosts reads a hosts file; without a name there are no hosts.
func readHosts(name string) (zone, error) {
	z := zone{}
	if name == "" {
		return z, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		ip, err := netip.ParseAddr(words[0])
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, n, err)
		}
		for _, host := range words[1:] {
			host = strings.ToLower(strings.TrimSuffix(host, ".")) + "."
			z[host] = append(z[host], ip)
		}
	}
	return z, lines.Err()
}
