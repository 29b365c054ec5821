package sdnotify

import (
	"strconv"
	"testing"
	"time"
)

// FuzzFrom: whatever stands in the variables, a watchdog has a time that a timer takes, and
// only the process that the manager means has one.
func FuzzFrom(f *testing.F) {
	for _, seed := range [][3]string{
		{"/run/notify", "30000000", "7"}, {"@abstract", "1", ""}, {"@", "1000", "8"}, {"", "1000", "7"}, {"/x", "-1", "7"},
		{"/x", "9223372036854775807", "7"}, {"/x", "9223372036854776", ""}, {"/x", "9223372036854775808", ""}, {"/x", "1e6", "07"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, socket, usec, pid string) {
		n := From(env(map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}), 7)
		if n.Asked() != (socket != "") {
			t.Errorf("asked: %v", n.Asked())
		}
		d := n.Watchdog()
		want, err := strconv.ParseInt(usec, 10, 64)
		switch mine := pid == "" || pid == "7"; {
		case d < 0 || d > 0 && (socket == "" || !mine || err != nil):
			t.Errorf("watchdog %v", d)
		case d == 0 && socket != "" && mine && err == nil && want > 0:
			t.Errorf("no watchdog for %d us", want)
		case d > 0 && d != time.Duration(want)*time.Microsecond && want < 1<<53:
			t.Errorf("watchdog %v for %d us", d, want)
		}
	})
}
