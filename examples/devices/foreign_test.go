//go:build foreign

package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"testing"
)

// TestForeignDevices lets nc talk to openssl s_client.
func TestForeignDevices(t *testing.T) {
	cert, _ := selfSigned(t)
	cfg := small()
	cfg.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	next := start(t, cfg)
	plain, secure := next("on "), next("on ")
	host, port, err := net.SplitHostPort(plain)
	if err != nil {
		t.Fatal(err)
	}
	lamp := client(t, "nc", "-w", "20", host, port)
	lamp("ID lamp", "+ hello lamp")
	knob := client(t, "openssl", "s_client", "-quiet", "-verify_quiet", "-connect", secure)
	knob("ID knob", "+ hello knob")
	knob("TO lamp on", "+")
	lamp("", "knob on")
	lamp("TO knob is on", "+")
	knob("", "lamp is on")
}

// client runs a program that connects; say writes a line, when there is one, and wants the answer.
func client(t *testing.T, name string, args ...string) (say func(line, want string)) {
	t.Helper()
	cmd := exec.Command(name, args...)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	return func(line, want string) {
		t.Helper()
		if line != "" {
			if _, err := io.WriteString(in, line+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("%s: %q answers %q, want %q", name, line, lines.Text(), want)
		}
	}
}
