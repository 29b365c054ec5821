// Command http is a small HTTP/1.1 server on a protocol: it keeps connections
// alive, answers pipelined requests in their order, sends files with the
// kernel's sendfile, and speaks TLS when it is given a certificate.
//
//	go run ./examples/http -at 127.0.0.1:8080 -root .
//	curl -i http://127.0.0.1:8080/hello
//	curl -s http://127.0.0.1:8080/files/go.mod
//	wrk -t1 -c64 -d5 http://127.0.0.1:8080/hello
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// config is what the flags say.
type config struct {
	at, root, cert, key string
	idle                time.Duration
}

func main() {
	var c config
	flag.StringVar(&c.at, "at", "127.0.0.1:8080", "where to listen")
	flag.StringVar(&c.root, "root", ".", "the folder behind /files/")
	flag.StringVar(&c.cert, "cert", "", "a certificate in PEM form, for TLS")
	flag.StringVar(&c.key, "key", "", "its private key in PEM form")
	flag.DurationVar(&c.idle, "idle", 60*time.Second, "how long a connection may stay on which nothing moves")
	flag.Parse()
	if flag.NArg() > 0 || c.idle <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(context.Background(), c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or the program is interrupted.
func run(ctx context.Context, c config, out io.Writer) error {
	root, err := os.OpenRoot(c.root)
	if err != nil {
		return err
	}
	defer root.Close()
	// A download that goes on is not idle, however long it takes; a client that
	// stops reading is.
	opts := []transportactors.ServerOption{transportactors.WithBacklog(1024), transportactors.WithIdleTimeout(c.idle)}
	scheme := "http"
	if c.cert != "" || c.key != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return err
		}
		opts = append(opts, transportactors.WithTLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
		scheme = "https"
	}
	err = loopnode.Run(ctx, func(ctx context.Context) error {
		s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return newConn(ctx, root) }, "tcp", c.at, opts...)
		if err != nil {
			return err
		}
		defer s.AbortClients()
		defer s.Close()
		fmt.Fprintf(out, "listening on %s://%s\n", scheme, s.Addrs()[0])
		return loopnode.WaitDone(ctx) // ServeForever would wait for the clients to leave
	})
	if errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, loopnode.ErrInterrupted) {
		return nil
	}
	return err
}
