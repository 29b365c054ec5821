package sdnotify

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestWhatTheManagerSays(t *testing.T) {
	for _, c := range []struct {
		values   map[string]string
		asked    bool
		watchdog time.Duration
	}{
		{nil, false, 0},
		{map[string]string{"NOTIFY_SOCKET": "/run/x"}, true, 0},
		{map[string]string{"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, true, 30 * time.Second},
		{map[string]string{"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000"}, true, time.Millisecond},
		{map[string]string{"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "8"}, true, 0},
		{map[string]string{"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "-1"}, true, 0},
		{map[string]string{"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, true, 0},
		{map[string]string{"WATCHDOG_USEC": "1000"}, false, 0},
	} {
		if n := From(env(c.values), 7); n.Asked() != c.asked || n.Watchdog() != c.watchdog {
			t.Errorf("%v: %v %v", c.values, n.Asked(), n.Watchdog())
		}
	}
}

func TestStatesArrive(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@loopmesh-test-" + strconv.Itoa(os.Getpid())} {
		at := name
		if strings.HasPrefix(at, "@") {
			at = "\x00" + at[1:]
		}
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		n := From(env(map[string]string{"NOTIFY_SOCKET": name}), 1)
		if err := n.Send("READY=1", "STATUS=good"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 100)
		if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		size, err := l.Read(got)
		if err != nil || string(got[:size]) != "READY=1\nSTATUS=good" {
			t.Errorf("%q %v", got[:size], err)
		}
		_ = l.Close()
	}
}

func TestNobodyToTell(t *testing.T) {
	if err := (Notifier{}).Send("READY=1"); err != nil {
		t.Error(err)
	}
	n := From(env(map[string]string{"NOTIFY_SOCKET": filepath.Join(t.TempDir(), "gone")}), 1)
	if err := n.Send("READY=1"); err == nil || !strings.Contains(err.Error(), "service manager") {
		t.Error(err)
	}
}
