//go:build foreign

package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestCurl(t *testing.T) {
	at, _ := program(t)
	for _, c := range []struct{ args, want string }{
		{"-d 5", "carol has 5 after 1 deposits"},
		{"-d five", "invalid syntax"},
		{"-d 2", "carol has 7 after 1 deposits"},
		{"-X DELETE", "ending carol"},
	} {
		args := append(strings.Fields(c.args), "-s", "--max-time", "20", "http://"+at+"/carol")
		out, err := exec.Command("curl", args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Fatalf("curl %s: %v: %s", c.args, err, out)
		}
	}
}

// TestPython asks with a hundred asyncio connections at once: no deposit is lost.
func TestPython(t *testing.T) {
	at, _ := program(t)
	const script = `
import asyncio, sys
host, port = sys.argv[1].split(":")
async def deposit(i):
    r, w = await asyncio.open_connection(host, port)
    w.write(b"POST /dave HTTP/1.0\r\nHost: x\r\nContent-Length: 1\r\n\r\n1")
    text = (await r.read()).decode()
    w.close()
    assert " 200 " in text, text
    return int(text.split("dave has ")[1].split()[0])
async def main():
    totals = await asyncio.gather(*(deposit(i) for i in range(100)))
    assert sorted(totals) == list(range(1, 101)), sorted(totals)
    print("all there")
asyncio.run(asyncio.wait_for(main(), 20))
`
	out, err := exec.Command("python3", "-c", script, at).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all there") {
		t.Fatalf("%v: %s", err, out)
	}
}
