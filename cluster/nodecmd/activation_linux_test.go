package nodecmd

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestStartOnASocketOfTheServiceManager: a node that is started as systemd starts one serves
// its chat on the socket that it is given, and clients who came before it are served.
func TestStartOnASocketOfTheServiceManager(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	early, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0], "start", "--name", "n1", "--listen", "none", "--loops", "1", "--chat", "fd://clients")
	cmd.Env = append(os.Environ(), asProgram+"=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=clients", "XDG_RUNTIME_DIR="+t.TempDir())
	cmd.ExtraFiles, cmd.Stderr = []*os.File{f}, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(out)
	for said := ""; !strings.Contains(said, "chat    "+l.Addr().String()); said = lines.Text() {
		if !lines.Scan() {
			t.Fatalf("it ended behind %q", said)
		}
	}
	if err := early.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if in := bufio.NewScanner(early); !in.Scan() || !strings.HasPrefix(in.Text(), "* you are n1 ") {
		t.Errorf("who came before the program hears %q, %v", in.Text(), in.Err())
	}
}
