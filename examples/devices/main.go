// Command devices lets devices talk to each other in lines, over TCP and over TLS. A
// device says who it is and writes to others by name:
//
//	go run ./examples/devices                                        # TCP on 127.0.0.1:9000
//	go run ./examples/devices -cert cert.pem -key key.pem            # and TLS on 127.0.0.1:9443
//	nc 127.0.0.1 9000                                                # ID lamp
//	openssl s_client -quiet -connect 127.0.0.1:9443                  # ID switch, TO lamp on
//
// It bounds what a device can cost: the length of a line, connections at once, silence.
// Ctrl-C and SIGTERM end it in good order: nobody new is let in, each device is told and
// gets the rest of its lines, and one that has not taken them in three seconds is cut off.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

type config struct {
	plain, secure string      // addresses
	tls           *tls.Config // nil: no TLS server
	most          int         // connections at once
	line          int         // bytes of a line
	idle          time.Duration
	stats         time.Duration // how often they are printed
	grace         time.Duration // for devices to take the rest, at the end
}

func main() {
	cfg := config{plain: "127.0.0.1:9000", secure: "127.0.0.1:9443", most: 1000, line: 1024, idle: 5 * time.Minute, stats: 10 * time.Second, grace: 3 * time.Second}
	cert := flag.String("cert", "", "file of the certificate for TLS")
	key := flag.String("key", "", "file of its key")
	flag.Parse()
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			fmt.Fprintln(os.Stderr, "devices:", err)
			os.Exit(2)
		}
		cfg.tls = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM) // loopnode.Run adds SIGINT
	defer stop()
	if err := loopnode.Run(ctx, func(ctx context.Context) error { return run(ctx, cfg, os.Stdout) }); err != nil {
		fmt.Fprintln(os.Stderr, "devices:", err)
		os.Exit(1)
	}
}

// run serves until its task is cancelled, and then lets the devices go.
func run(ctx context.Context, cfg config, out io.Writer) error {
	g := &gateway{cfg: cfg, out: out, devices: map[string]transportactors.Transport{}}
	opts := []transportactors.ServerOption{transportactors.WithLimit(cfg.line), transportactors.WithIdleTimeout(cfg.idle)}
	plain, err := transportactors.StartServer(ctx, g.serve, "tcp", cfg.plain, opts...)
	if err != nil {
		return err
	}
	servers := []*transportactors.Server{plain}
	defer func() { // whatever happens
		for _, s := range servers {
			s.Close()
			s.AbortClients()
		}
	}()
	if cfg.tls != nil {
		secure, err := transportactors.StartServer(ctx, g.serve, "tcp", cfg.secure, append(opts, transportactors.WithTLS(cfg.tls))...)
		if err != nil {
			return err
		}
		servers = append(servers, secure)
	}
	for _, s := range servers {
		fmt.Fprintln(out, "on", s.Addrs()[0])
	}
	g.tick(plain.Loop())
	_ = loopnode.WaitDone(ctx) // cancelled once; the waits below are not
	fmt.Fprintln(out, "ending with", g.conns, "connections")
	return loopnode.Timeout(ctx, cfg.grace, func(ctx context.Context) error {
		for _, s := range servers {
			s.Close()
		}
		for _, d := range g.devices {
			_ = d.Write([]byte("* the gateway ends\n")) // a lost connection tells its task
		}
		for _, s := range servers {
			s.CloseClients() // behind what is written
		}
		for _, s := range servers {
			if err := s.WaitClosed(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}
