package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The command doctor: what of this machine and this configuration will make trouble. It is
// for the moment before the first start and for the morning after a bad night; it asks no
// other node of the cluster and changes nothing, but for a file that it makes and removes in
// the store folder, and ports that it takes for a moment.

const doctorLong = `Looks at this machine and at the configuration that 'loopmesh start' would use with the same flags: the system, the limits of the
kernel, the clock, the admin socket, keys, the store folder, ports, and whether the other machines can be reached. Each line is
OK, WARN or FAIL, with what to do. Exit code 7 when a line is FAIL; with --strict also when one is WARN.`

// newDoctor takes the flags of start.
func newDoctor(p *program) *cobra.Command {
	o := newStartOptions(p)
	var out output
	var strict bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "look for what is wrong with this machine and the configuration", Long: doctorLong, Args: noArgs,
		Example: "  loopmesh doctor\n  loopmesh doctor --config node.yaml --strict",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if _, err := applyFile(cmd, o.file); err != nil {
				return err
			}
			if _, err := o.config(cmd); err != nil {
				return err
			}
			list := &admin.List[diagnosis]{Kind: "DiagnosisList", APIVersion: admin.APIVersion, Time: time.Now().UTC(), Items: examine(cmd.Context(), thisMachine(), o)}
			if err := showDiagnoses(cmd, &out, list); err != nil {
				return err
			}
			return fitness(list.Items, strict)
		},
	}
	o.flags(cmd, p)
	out.flag(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "a WARN makes the exit code 7, too")
	return cmd
}

// The names of the lines stand in the error, so that a log that has stderr alone says what.
// fitness is the error of the command when the machine is not fit.
func fitness(all []diagnosis, strict bool) error {
	var bad []string
	for _, d := range all {
		if d.State == stateFail || strict && d.State == stateWarn {
			bad = append(bad, d.ID)
		}
	}
	if len(bad) > 0 {
		return conditionError{fmt.Errorf("this machine is not fit: %s", strings.Join(bad, ", "))}
	}
	return nil
}

// showDiagnoses prints a page for people, and a list otherwise.
func showDiagnoses(cmd *cobra.Command, o *output, list *admin.List[diagnosis]) error {
	if o.format != formatTable {
		return show(cmd, o, list,
			column[diagnosis]{"CHECK", func(d diagnosis) string { return d.ID }}, column[diagnosis]{"STATE", func(d diagnosis) string { return d.State }},
			column[diagnosis]{"WHAT", func(d diagnosis) string { return d.Text }}, column[diagnosis]{"DO", func(d diagnosis) string { return named(d.Do, cmd.Root().Name()) }})
	}
	width := 0
	for _, d := range list.Items {
		width = max(width, len(d.ID))
	}
	var b strings.Builder
	for _, d := range list.Items {
		fmt.Fprintf(&b, "%-4s  %-*s  %s\n", d.State, width, d.ID, printable(d.Text))
		if d.Do != "" {
			fmt.Fprintf(&b, "      %-*s  do: %s\n", width, "", printable(named(d.Do, cmd.Root().Name())))
		}
	}
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

// thisMachine is the machine that the program runs on.
func thisMachine() *machine {
	return &machine{
		system: runtime.GOOS, now: time.Now, env: os.Getenv,
		read: func(path string) (string, error) {
			raw, err := os.ReadFile(path)
			return string(raw), err
		},
		limit: descriptorLimit, synced: clockSynced, disk: diskRoom, mayUse: mayUse, listen: mayListen, dial: mayDial, running: runningHere, socket: admin.CheckDir,
	}
}

// The functions below are the real ones behind machine. They are short on purpose: what they
// return is judged in doctor.go, and only that is tried with every answer.
// mayUse makes the folder, as a start would, and a file in it that it removes.
func mayUse(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("x")
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// mayListen takes the port for a moment.
func mayListen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return reasonOf(err)
	}
	return l.Close()
}

// mayDial connects and says nothing.
func mayDial(ctx context.Context, address string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// A node that answers on its admin socket lives, whatever it says then: its version is asked
// for with a second question, which a stuck cluster may not answer.
// runningHere asks the node of that name on this machine for its version.
func runningHere(ctx context.Context, node string) (version string, lives bool) {
	c := admin.NewClient(admin.Path(node))
	defer c.Close()
	within, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	if _, err := c.Self(within); err != nil {
		return "", false
	}
	list, err := c.Nodes(within)
	if err != nil {
		return "", true
	}
	for _, n := range list.Items {
		if n.ID == node {
			version = n.Version
		}
	}
	return version, true
}

// natsPort is where a NATS server listens when its URL names no port.
const natsPort = "4222"

// A URL may hold a password. Only host and port of it are ever printed.
// hostOfURL is host:port of a NATS URL. What is none is left as it is, for the error of the
// attempt to reach it.
func hostOfURL(text string) string {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" {
		return "(not an address)"
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), natsPort)
	}
	return u.Host
}
