package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/bench/peers/serve"
)

var (
	//go:embed foreign/echo.c
	echoC string
	//go:embed foreign/echo.py
	echoPy string
)

// inGo are the servers that this program is itself when it is asked to serve.
var inGo = map[string]func(address string) error{
	"loopmesh": serve.Loopmesh, "Go net": serve.Net, "gnet": serve.Gnet,
}

// peer is a server in a process of its own.
type peer struct {
	name    string
	address string
	cmd     *exec.Cmd
}

// commands are how the peers are started; a peer whose program this machine
// lacks is left out, and said to be.
func commands(dir string) (names []string, how map[string][]string) {
	self, err := os.Executable()
	if err != nil {
		fatal(err)
	}
	how = map[string][]string{}
	add := func(name string, err error, args ...string) {
		if err != nil {
			fmt.Printf("without %s: %v\n", name, err)
			return
		}
		names, how[name] = append(names, name), args
	}
	for _, name := range []string{"loopmesh", "Go net", "gnet"} {
		add(name, nil, self, "-serve", name)
	}
	source, program := filepath.Join(dir, "echo.c"), filepath.Join(dir, "echo")
	add("C", compile(source, program), program)
	script := filepath.Join(dir, "echo.py")
	err = os.WriteFile(script, []byte(echoPy), 0o600)
	if err == nil {
		err = exec.Command("python3", "-c", "import asyncio").Run()
	}
	add("asyncio", err, "python3", script)
	add("uvloop", exec.Command("python3", "-c", "import uvloop").Run(), "python3", script, "uvloop")
	return names, how
}

func compile(source, program string) error {
	if err := os.WriteFile(source, []byte(echoC), 0o600); err != nil {
		return err
	}
	return exec.Command("cc", "-O2", "-o", program, source).Run()
}

// start runs a peer and reads where it listens.
func start(name string, args []string) (*peer, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := netip.ParseAddrPort(lines.Text()); err == nil { // gnet's log comes before it
			return &peer{name: name, address: lines.Text(), cmd: cmd}, nil
		}
	}
	_ = cmd.Process.Kill()
	return nil, fmt.Errorf("%s does not say where it listens: %v", name, cmd.Wait())
}

func (p *peer) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

const clockTick = 10 * time.Millisecond // USER_HZ is 100 on every Linux

// spent is the time the peer has used: its own and the kernel's for it.
func (p *peer) spent() (user, system time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold spaces
	f := strings.Fields(rest)
	u, err1 := strconv.Atoi(f[11])
	s, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("unreadable: %q", b)
	}
	return time.Duration(u) * clockTick, time.Duration(s) * clockTick, nil
}
