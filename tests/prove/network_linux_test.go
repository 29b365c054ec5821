package prove

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// network is a bridge and a namespace for each process, so that one can be taken off it.
// It needs root and iproute2.
type network struct {
	name   string
	prefix string // of the addresses
	undo   []string
}

// newNetwork makes the network, or says why it cannot.
func newNetwork(hosts int) (*network, error) {
	id := os.Getpid() % 200
	n := &network{name: fmt.Sprintf("lp%d", id), prefix: fmt.Sprintf("10.%d.79.", 20+id)}
	steps := [][2]string{
		{"link add " + n.name + " type bridge", "link del " + n.name},
		{fmt.Sprintf("addr add %s254/24 dev %s", n.prefix, n.name), ""},
		{"link set " + n.name + " up", ""},
	}
	for i := 1; i <= hosts; i++ {
		space := n.space(i)
		steps = append(steps, [][2]string{
			{"netns add " + space, "netns del " + space},
			{fmt.Sprintf("link add %s type veth peer name eth0 netns %s", space, space), ""},
			{fmt.Sprintf("link set %s master %s up", space, n.name), ""},
			{fmt.Sprintf("-n %s addr add %s/24 dev eth0", space, n.host(i)), ""},
			{fmt.Sprintf("-n %s link set eth0 up", space), ""},
			{fmt.Sprintf("-n %s link set lo up", space), ""},
		}...)
	}
	for _, s := range steps {
		if err := ip(s[0]); err != nil {
			n.close()
			return nil, err
		}
		if s[1] != "" {
			n.undo = append(n.undo, s[1])
		}
	}
	return n, nil
}

func (n *network) space(i int) string { return fmt.Sprintf("%s-%d", n.name, i) }

// host is the address of the i-th process, from 1 on.
func (n *network) host(i int) string { return fmt.Sprintf("%s%d", n.prefix, i) }

// inside are the words before a command that runs as the i-th process.
func (n *network) inside(i int) []string { return []string{"ip", "netns", "exec", n.space(i)} }

// cut takes the i-th process off the network, or puts it back.
func (n *network) cut(i int, off bool) error {
	state := "up"
	if off {
		state = "down"
	}
	return ip(fmt.Sprintf("link set %s %s", n.space(i), state))
}

func (n *network) close() {
	for i := len(n.undo) - 1; i >= 0; i-- {
		_ = ip(n.undo[i]) // nothing more can be done
	}
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}
