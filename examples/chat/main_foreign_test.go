//go:build foreign

package main

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// TestNC lets two nc talk, each on a node of its own.
func TestNC(t *testing.T) {
	first, at := node(t, "")
	second, _ := node(t, at)
	var ins []io.WriteCloser
	var outs []*bufio.Scanner
	for _, address := range []string{first, second} {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("nc", "-w", "20", host, port)
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		ins, outs = append(ins, in), append(outs, bufio.NewScanner(out))
	}
	hear := func(i int, part string) {
		t.Helper()
		if !outs[i].Scan() || !strings.Contains(outs[i].Text(), part) {
			t.Fatalf("heard %q, want %q", outs[i].Text(), part)
		}
	}
	hear(0, "* you are ")
	hear(1, "* you are ")
	for i, text := range []string{"hello from one", "hello from two"} {
		if _, err := io.WriteString(ins[i], text+"\n"); err != nil {
			t.Fatal(err)
		}
		hear(0, text)
		hear(1, text)
	}
}

// TestPython lets twenty asyncio clients, on two nodes, hear all that each says.
func TestPython(t *testing.T) {
	first, at := node(t, "")
	second, _ := node(t, at)
	const script = `
import asyncio, sys
async def client(i, address, ready):
    host, port = address.split(":")
    r, w = await asyncio.open_connection(host, port)
    assert (await r.readline()).startswith(b"* you are ")
    await ready.wait()
    w.write(b"line %d\n" % i)
    heard = {(await r.readline()).decode().strip().split(": ")[1] for _ in range(20)}
    w.close()
    assert heard == {"line %d" % k for k in range(20)}, heard
async def main():
    ready = asyncio.Barrier(20)
    await asyncio.gather(*(client(i, sys.argv[1 + i % 2], ready) for i in range(20)))
    print("all heard all")
asyncio.run(asyncio.wait_for(main(), 20))
`
	out, err := exec.Command("python3", "-c", script, first, second).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all heard all") {
		t.Fatalf("%v: %s", err, out)
	}
}
