// Package sdnotify tells a service manager (systemd, and others that took its protocol
// over) how a process is: that it is ready, that it stops, that it lives. The protocol is
// one datagram of lines NAME=VALUE to the unix socket that the variable NOTIFY_SOCKET names,
// see sd_notify(3).
//
// Why not a library? What is needed of one are the thirty lines below, and they have no
// corner that somebody else's code would know better.
package sdnotify

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// Notifier is where states go. The zero value sends nothing, for a process that no manager
// started. It does not change; any goroutine.
type Notifier struct {
	socket   string
	watchdog time.Duration
}

// mostUsec is the longest time of a watchdog: a longer one, which means "never", is no Duration.
const mostUsec = math.MaxInt64 / int64(time.Microsecond)

// From reads the variables that the manager has set: NOTIFY_SOCKET, and WATCHDOG_USEC with
// WATCHDOG_PID, which says whom the manager watches. env is os.Getenv, pid this process.
func From(env func(string) string, pid int) Notifier {
	n := Notifier{socket: env("NOTIFY_SOCKET")}
	if strings.HasPrefix(n.socket, "@") {
		n.socket = "\x00" + n.socket[1:] // one without a file
	}
	usec, err := strconv.ParseInt(env("WATCHDOG_USEC"), 10, 64)
	whom := env("WATCHDOG_PID")
	if err == nil && usec > 0 && n.socket != "" && (whom == "" || whom == strconv.Itoa(pid)) {
		n.watchdog = time.Duration(min(usec, mostUsec)) * time.Microsecond
	}
	return n
}

// Asked reports whether a manager wants to know.
func (n Notifier) Asked() bool { return n.socket != "" }

// Watchdog is how long the manager waits for WATCHDOG=1 before it ends the process; 0: it
// does not watch.
func (n Notifier) Watchdog() time.Duration { return n.watchdog }

// Send sends lines such as READY=1. It waits for the kernel only. Without a manager it does
// nothing and is no error.
func (n Notifier) Send(lines ...string) error {
	if n.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("telling the service manager: %w", err)
	}
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	if closed := c.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("telling the service manager: %w", err)
	}
	return nil
}
