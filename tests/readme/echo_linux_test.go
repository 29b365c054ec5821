package readme

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTheEchoServerOfTheReadme talks to the echo server of README.md, on a port that
// is free here, and interrupts it while a client is connected: the client is told, and
// the program ends well.
func TestTheEchoServerOfTheReadme(t *testing.T) {
	const printed = "127.0.0.1:7000"
	text := programs(t)[0]
	if !strings.Contains(text, printed) {
		t.Fatalf("the echo server of README.md does not listen on %s any more", printed)
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, printed, "127.0.0.1:0")), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(file), "program")
	goTool(t, "build", "-o", program, file)

	cmd := exec.Command(program)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
	defer func() { _ = cmd.Process.Kill() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", strings.TrimSpace(strings.TrimPrefix(line, "echo on ")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	answer := make([]byte, len("hello"))
	if _, err := io.WriteString(client, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, answer); err != nil || string(answer) != "hello" {
		t.Fatalf("%q, %v", answer, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(answer); err != io.EOF {
		t.Errorf("the client reads %d bytes, %v", n, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
