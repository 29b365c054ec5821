package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/loopmesh/loopmesh/bench/peers/serve"
)

var (
	//go:embed foreign/load.c
	loadC string
	//go:embed foreign/echo.c
	echoC string
	//go:embed foreign/uv.c
	uvC string
	//go:embed foreign/echo.py
	echoPy string
	//go:embed foreign/echo.js
	echoJS string
)

// inGo are the servers that this program is itself when it is asked to serve.
var inGo = map[string]func(address string) error{
	"loopmesh": serve.Loopmesh, "loopmesh stream": serve.LoopmeshStream, "Go net": serve.Net, "gnet": serve.Gnet,
}

// peer is a server in a process of its own.
type peer struct {
	name    string
	address string
	cmd     *exec.Cmd
	failed  []string // gates
}

// command is how a peer is started; why says what this machine lacks for it.
type command struct {
	name string
	args []string
	why  error
}

// commands are all peers there are.
func commands(dir string, also map[string]string) (all []command) {
	self, err := os.Executable()
	for _, name := range []string{"loopmesh", "loopmesh stream", "Go net", "gnet"} {
		all = append(all, command{name, []string{self, "-serve", name}, err})
	}
	all = append(all,
		command{"C epoll", []string{filepath.Join(dir, "echo")}, compile(dir, "echo", echoC)},
		command{"libuv", []string{filepath.Join(dir, "uv")}, compile(dir, "uv", uvC, "-luv")})
	script := filepath.Join(dir, "echo.py")
	err = os.WriteFile(script, []byte(echoPy), 0o600)
	for _, name := range []string{"asyncio", "uvloop"} {
		python, why := pythonWith(name)
		all = append(all, command{name, []string{python, script, name}, errors.Join(err, why)})
	}
	script = filepath.Join(dir, "echo.js")
	if err = os.WriteFile(script, []byte(echoJS), 0o600); err == nil {
		_, err = exec.LookPath("node")
	}
	all = append(all, command{"Node.js", []string{"node", script}, err})
	for name, line := range also {
		all = append(all, command{name, strings.Fields(line), nil})
	}
	return all
}

// pythonWith finds a Python that has the module: the first on the path, or the system's.
func pythonWith(module string) (python string, err error) {
	for _, python = range []string{"python3", "/usr/bin/python3"} {
		if err = exec.Command(python, "-c", "import "+module).Run(); err == nil {
			return python, nil
		}
	}
	return python, fmt.Errorf("no Python here has %s: %w", module, err)
}

func compile(dir, name, source string, libraries ...string) error {
	file := filepath.Join(dir, name+".c")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		return err
	}
	out, err := exec.Command("cc", append([]string{"-O2", "-o", filepath.Join(dir, name), file}, libraries...)...).CombinedOutput()
	if err != nil {
		line, _, _ := strings.Cut(string(out), "\n")
		return fmt.Errorf("%w: %s", err, line)
	}
	return nil
}

// startAll starts the peers that are wanted and that this machine has. Those it
// returns run, also beside an error.
func startAll(dir string, o options, pin pinning) (peers []*peer, err error) {
	for _, c := range commands(dir, o.also) {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), c.name) {
			continue
		}
		if c.why != nil {
			fmt.Printf("without %s: %v\n", c.name, c.why)
			continue
		}
		p, err := start(c.name, pin.server(c.args))
		if err != nil {
			return peers, err
		}
		peers = append(peers, p)
	}
	return peers, nil
}

// start runs a peer and reads where it listens. GOMAXPROCS stays 1 where servers are
// pinned to one processor: Go asks how many it may use.
func start(name string, args []string) (*peer, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
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
