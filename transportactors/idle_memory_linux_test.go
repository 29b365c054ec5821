package transportactors

import (
	"context"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
)

// An accepted connection that is idle costs at most this much of the heap, the
// protocol of the program (8 bytes here) and its share of every table included: the
// transport itself 448, its registration 112, two callbacks 32, the rest is tables.
const (
	idleBytes   = 896
	idleObjects = 5.1 // the tables are a few objects, too
)

func TestIdleMemory(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		made := 0
		s, err := CreateServer(ctx, func() Protocol { return &quiet{made: &made} }, "tcp", "127.0.0.1:0", WithBacklog(4096))
		if err != nil {
			return err
		}
		at, err := unix.Getsockname(s.listeners[0].socket.FD())
		must(t, err)
		const warm, count = 64, 1024
		var fds [warm + count]int
		connect := func(from, to int) {
			for i := from; i < to; i++ {
				fds[i], err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				must(t, err)
				must(t, unix.Connect(fds[i], at))
			}
			for made < to {
				must(t, loopnode.Sleep(ctx, 0))
			}
		}
		defer func() {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}()
		connect(0, warm)
		bytes, objects := heap()
		connect(warm, len(fds))
		after, all := heap()
		b, n := float64(after-bytes)/count, float64(all-objects)/count
		t.Logf("%.0f bytes in %.1f objects", b, n)
		if b > idleBytes || n > idleObjects {
			t.Errorf("an idle connection costs %.0f bytes in %.1f objects, at most %d in %.1f are allowed", b, n, idleBytes, idleObjects)
		}
		s.AbortClients()
		s.Close()
		return s.WaitClosed(ctx)
	})
}

// heap is what lives now.
func heap() (bytes, objects int64) {
	runtime.GC()
	runtime.GC() // what cleanups held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.HeapObjects)
}

// quiet counts who has been made.
type quiet struct{ made *int }

func (q *quiet) ConnectionMade(Transport) { *q.made++ }
func (q *quiet) DataReceived([]byte)      {}
func (q *quiet) ConnectionLost(error)     {}
