package blocking

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The other side of the sockets is a process of its own, so that its work is
// neither on our processors' account nor in our scheduler.
const peerKey = "LOOPMESH_BLOCKING_PEER"

const message = 1024

func TestMain(m *testing.M) {
	if role := os.Getenv(peerKey); role != "" {
		peer(role)
		return
	}
	os.Exit(m.Run())
}

// peer is "echo N" (N connections, one message in flight on each) or
// "tick N PERIOD" (one byte to each connection every period). It ends when a
// connection does.
func peer(role string) {
	runtime.GOMAXPROCS(1)
	var kind string
	var n int
	var period time.Duration
	var ns int64
	fmt.Sscan(role, &kind, &n, &ns)
	period = time.Duration(ns)
	buf := make([]byte, message)
	for {
		for fd := 3; fd < 3+n; fd++ {
			if kind == "tick" {
				buf = buf[:1]
			}
			if _, err := unix.Write(fd, buf); err != nil {
				return
			}
		}
		if kind == "tick" {
			pause := unix.NsecToTimespec(int64(period))
			unix.Nanosleep(&pause, nil)
			continue
		}
		for fd := 3; fd < 3+n; fd++ {
			for got := 0; got < message; {
				k, err := unix.Read(fd, buf)
				if err == unix.EINTR {
					continue
				}
				if err != nil || k == 0 {
					return
				}
				got += k
			}
		}
	}
}

// startPeer starts the other side of n socket pairs and returns our ends.
func startPeer(b testing.TB, kind string, n int, period time.Duration) (fds []int, stop func()) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), peerKey+"="+kind+" "+strconv.Itoa(n)+" "+strconv.FormatInt(int64(period), 10))
	for range n {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(b, err)
		must(b, unix.SetNonblock(p[0], true))
		fds = append(fds, p[0])
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(p[1]), "peer"))
	}
	must(b, cmd.Start())
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	return fds, func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
		cmd.Wait() // it ends with an error of its socket, which is what we want
	}
}

func must(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
