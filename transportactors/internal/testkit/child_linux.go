package testkit

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// asChild as the first argument makes the test binary one of the programs below.
const asChild = "as-child"

// Program is the command line that starts a program of this file, or one that
// was given to Main.
func Program(args ...string) []string {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return append([]string{self, asChild}, args...)
}

var programs = map[string]func(args []string){
	// say writes "1:text" to stdout and "2:text" to stderr, one line each.
	"say": func(args []string) {
		for _, a := range args {
			text := a[2:] + "\n"
			if a[0] == '1' {
				_, _ = os.Stdout.WriteString(text)
			} else {
				_, _ = os.Stderr.WriteString(text)
			}
		}
	},
	// exit ends with a code.
	"exit": func(args []string) { Quit(Number(args[0])) },
	// both prints its first argument and ends with its second.
	"both": func(args []string) { fmt.Println(args[0]); Quit(Number(args[1])) },
	// cat copies stdin to stdout.
	"cat": func([]string) { _, _ = io.Copy(os.Stdout, os.Stdin) },
	// produce writes so many bytes to stdout.
	"produce": func(args []string) { _, _ = os.Stdout.Write(Sequence(Number(args[0]))) },
	// swallow reads so many bytes of stdin, closes it, says so and hangs.
	"swallow": func(args []string) {
		_, _ = io.ReadFull(os.Stdin, make([]byte, Number(args[0])))
		_ = os.Stdin.Close()
		fmt.Println("closed")
		Hang()
	},
	// Hang says ready and never ends.
	"hang": func([]string) { fmt.Println("ready"); Hang() },
	// silent never ends and keeps what it inherited.
	"silent": func([]string) { Hang() },
	// stubborn is hang that ignores SIGTERM and reports SIGUSR1.
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM)
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		fmt.Println("ready")
		for range c {
			fmt.Println("usr1")
		}
	},
	// late copies stdin to stdout after SIGUSR1.
	"late": func([]string) {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		_, _ = os.Stdout.WriteString("ready")
		<-c
		_, _ = io.Copy(os.Stdout, os.Stdin)
	},
	// parent starts a grandchild that holds stdout, says its number and exits.
	"parent": func(args []string) {
		c := exec.Command(os.Args[0], asChild, "silent")
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			panic(err)
		}
		fmt.Println(c.Process.Pid)
		Quit(Number(args[0]))
	},
	// tell prints what the child is.
	"tell": func(args []string) {
		for _, what := range args {
			fmt.Println(tell(what))
		}
	},
	// lines writes a line to stdout and stderr in turn.
	"lines": func(args []string) {
		for i := range Number(args[0]) {
			fmt.Fprintf([]*os.File{os.Stdout, os.Stderr}[i%2], "%d\n", i)
		}
	},
}

func tell(what string) any {
	switch what {
	case "cwd":
		dir, err := os.Getwd()
		return fmt.Sprint(dir, err)
	case "env":
		return strings.Join(os.Environ(), " ")
	case "arg0":
		return os.Args[0]
	case "fds":
		return openFiles()
	case "sid":
		return leads(syscall.SYS_GETSID)
	case "pgid":
		pgid, err := syscall.Getpgid(0)
		return fmt.Sprint(pgid == os.Getpid(), err)
	case "uid":
		return fmt.Sprint(os.Getuid(), os.Getgid())
	case "null":
		n, err := os.Stdin.Read(make([]byte, 1))
		return fmt.Sprint(n, err)
	}
	n, err := strconv.Atoi(what)
	if err != nil {
		return "?"
	}
	f := os.NewFile(uintptr(n), "")
	b, err := io.ReadAll(f)
	return fmt.Sprint(string(b), err)
}

func leads(call uintptr) any {
	id, _, _ := syscall.Syscall(call, 0, 0, 0)
	return int(id) == os.Getpid()
}

// openFiles are the numbers above the standard ones, without what the runtime
// opens for itself.
func openFiles() string {
	var open []string
	for fd := 3; fd < 64; fd++ {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		runtimes := strings.HasPrefix(link, "anon_inode:") || strings.HasPrefix(link, "/sys/") || strings.HasPrefix(link, "/proc/")
		if err == nil && !runtimes {
			open = append(open, strconv.Itoa(fd))
		}
	}
	return "[" + strings.Join(open, " ") + "]"
}

// Command is one of the programs, started with os/exec: a process beside ours.
func Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	full := Program(args...)
	return exec.CommandContext(t.Context(), full[0], full[1:]...)
}

// Number is the number that s says.
func Number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// Sequence is n bytes that show a loss or a swap.
func Sequence(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.Bytes()[:n]
}

// Hang never returns.
func Hang() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH) // a program that waits for nothing would be a deadlock
	for range c {
	}
}

// Quit ends the program at once. Why not os.Exit: under the race detector that
// sleeps a second.
func Quit(code int) { syscall.Exit(code) }

func childMain(args []string, more map[string]func(args []string)) {
	run := programs[args[0]]
	if run == nil {
		run = more[args[0]]
	}
	if run == nil {
		fmt.Fprintln(os.Stderr, "no such program:", args[0])
		Quit(99)
	}
	run(args[1:])
	Quit(0)
}

// FirstLine reads one line from f.
func FirstLine(t testing.TB, f io.Reader) string {
	t.Helper()
	s, err := bufio.NewReader(f).ReadString('\n')
	Must(t, err)
	return strings.TrimSpace(s)
}
