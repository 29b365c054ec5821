package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// A gate is what a server must do right before its speed means anything. One that
// fails is timed all the same, and the failure stands beside its figures.
var gates = []struct {
	name string
	try  func(address string) error
}{
	{"100 MiB to a slow reader", slowReader},
	{"answers after half-close", halfClose},
	{"write, then close", writeThenClose},
}

const gateTime = 60 * time.Second

// passes names the gates that a server fails.
func passes(address string) (failed []string) {
	for _, g := range gates {
		if err := g.try(address); err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", g.name, err))
		}
	}
	return failed
}

func dial(address string) (*net.TCPConn, error) {
	c, err := net.DialTimeout("tcp", address, gateTime)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), c.SetDeadline(time.Now().Add(gateTime))
}

// slowReader sends and hashes 100 MiB, and reads with pauses: the server must keep
// what the client does not take, or stop reading, and lose nothing.
func slowReader(address string) error {
	c, err := dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	const total = 100 << 20
	sent, sending := sha256.New(), make(chan error, 1)
	go func() { // ends with the connection or when all is sent
		r := rand.NewChaCha8([32]byte{1})
		_, err := io.CopyN(io.MultiWriter(c, sent), r, total)
		sending <- err
	}()
	got, b := sha256.New(), make([]byte, 1<<20)
	for n := 0; n < total; {
		m, err := c.Read(b)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		if n < 8<<20 { // the first MiBs slowly: the socket's buffers are full then
			time.Sleep(2 * time.Millisecond)
		}
		got.Write(b[:m])
		n += m
	}
	if err := <-sending; err != nil {
		return err
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		return errors.New("the bytes differ")
	}
	return nil
}

// halfClose ends its own direction and wants the whole answer and then the end.
func halfClose(address string) error { return ask(address, 1<<20) }

// writeThenClose wants the answer to a message whose sender then closes in good order.
func writeThenClose(address string) error { return ask(address, 64) }

func ask(address string, size int) error {
	c, err := dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	out := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	sending := make(chan error, 1)
	go func() { // ends with the connection or when all is sent
		_, err := c.Write(out)
		if err == nil {
			err = c.CloseWrite()
		}
		sending <- err
	}()
	in, err := io.ReadAll(c)
	if err = errors.Join(err, <-sending); err != nil {
		return err
	}
	if !bytes.Equal(in, out) {
		return fmt.Errorf("%d of %d bytes came back", len(in), len(out))
	}
	return nil
}
