package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// proc run: a command of a profile on one node, as if it ran here, or on several at once
// with the lines of each marked (procmany.go).
//
// The command line talks to a node of this machine, which starts the process on the other
// one and passes bytes on. So the process belongs to that node: when this command ends, for
// whatever reason, its connection ends, and the node has the process ended.
//
// Signals. Ctrl-C is for the process, not for this command: it is forwarded, and the command
// goes on until the process has ended, whose exit code it then returns. The second Ctrl-C
// kills the process. SIGTERM and SIGHUP are forwarded as what they are.

// Stdin. It is read on a goroutine of its own and sent as the process takes it. Nobody can
// take back what a terminal has typed ahead: bytes that were read and not taken when the
// process ends are lost, as they are with ssh.
//
// Exit codes. Those of the process are passed on as they are, so they may be the same numbers
// as this program's own. What was not started says so on stderr, with a code of this program
// (LM…), and a process that is killed by a signal has 128+N, as in a shell.
//
// runOptions are the flags of proc run.
type runOptions struct {
	target
	on      string
	env     []string
	noStdin bool
	detach  bool
}

// Why a profile for free commands, and not a flag of the node that allows them? Rights are
// given for profiles: spawn:any is a right like the others, which a node may have or not, and
// the profile says as whom such commands run, how many, and with which limits. Whoever has no
// profile of that name has answered the question.
//
// anyProfile is the profile of a command line that names none.
const anyProfile = "any"

// newProcRun makes the command. The words in front of -- are for this program, those behind
// it are the process's own.
func newProcRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use: "run --on NODE[,NODE...]|all [PROFILE [NAME=VALUE]...] [-- WORD...]", Short: "run a command of a profile on other nodes, with its output here",
		Long: `Runs the command of PROFILE on the node --on, with stdin, stdout, stderr and signals as if it ran here. NAME=VALUE are the
arguments that the profile has, the words behind -- those that it lets the caller add. Without PROFILE the profile is "any":
a node has one of that name only if its owner lets every command run.

What may run stands on the node that runs it, in a file of 'start --profile FILE':

  backup:
    argv: [/usr/bin/rsync, -a, "/srv/{what}", "store:/backup/{what}"]
    args: {what: "[a-z]+"}
    orphan: keep

The node that is asked needs the right spawn:PROFILE there: of its keys ('loopmesh keys add --allow'), or without keys by
'start --allow' there. All words of a profile: 'go doc github.com/loopmesh/loopmesh/cluster/process.Profile'.

Ctrl-C reaches the process, a second one kills it. When this command ends, the process is ended, too, unless its profile
keeps it. The exit code is the process's, 128+N when signal N killed it; when it was not started, see 'loopmesh help exit-codes'.

With several nodes each line has the name of its node in front, stdin is empty, and a table of who failed comes last; the
exit code is then 1.`,
		Example: "  loopmesh proc run --on n2 backup what=mail\n  loopmesh proc run --on n2 -- tail -f /var/log/syslog\n  loopmesh proc run --on all -- uptime",
		Args: func(cmd *cobra.Command, args []string) error {
			_, err := o.request(cmd, args)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := o.request(cmd, args)
			if err != nil {
				return err
			}
			return o.run(cmd, q)
		},
	}
	o.reachFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.on, "on", "", "the node that runs it, several with commas between them, or all")
	f.StringArrayVarP(&o.env, "env", "e", nil, "NAME=VALUE: a variable that the profile accepts, once for each")
	f.BoolVar(&o.noStdin, "no-stdin", false, "give it no stdin")
	f.BoolVar(&o.detach, "detach", false, "print the process's id and leave it running; the profile has to keep it (orphan: keep)")
	_ = cmd.RegisterFlagCompletionFunc("on", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return suggest(cmd, func(ctx context.Context, c *admin.Client) []string {
			names, _ := readyNodes(ctx, c) // without an answer there is nothing to suggest
			return append(names, "all")
		})
	})
	return cmd
}

// request reads the words of the command line.
func (o *runOptions) request(cmd *cobra.Command, args []string) (q admin.RunRequest, err error) {
	mine := args
	if at := cmd.ArgsLenAtDash(); at >= 0 {
		mine, q.Words = args[:at], args[at:]
	}
	q.NoStdin, q.Detach, q.Profile = o.noStdin, o.detach, anyProfile
	if len(mine) > 0 {
		q.Profile, mine = mine[0], mine[1:]
	} else if len(q.Words) == 0 {
		return q, usageError{fmt.Errorf("there is nothing to run: give a profile, or a command behind --")}
	}
	if q.Args, err = pairs("the argument", mine); err != nil {
		return q, err
	}
	if q.Env, err = pairs("--env", o.env); err != nil {
		return q, err
	}
	if o.on == "" {
		return q, usageError{fmt.Errorf("--on is missing: name a node, several with commas between them, or all; \"loopmesh ls\" lists them")}
	}
	return q, nil
}

// pairs reads NAME=VALUE. A name that comes twice is a mistake: one of the two would be lost.
func pairs(what string, words []string) (map[string]string, error) {
	out := map[string]string{}
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("%s %q is not NAME=VALUE; words for the command itself stand behind --", what, w)}
		}
		if _, twice := out[name]; twice {
			return nil, usageError{fmt.Errorf("%s %s is given twice", what, name)}
		}
		out[name] = value
	}
	return out, nil
}

// run finds the nodes and runs the command on them. Which node is asked does not matter for
// what runs where, but for who owns the process: it lives as long as that node does. A node of
// this machine is near the person who waits, and goes with the machine.
func (o *runOptions) run(cmd *cobra.Command, q admin.RunRequest) error {
	if o.timeout <= 0 {
		return usageError{fmt.Errorf("--timeout is %v; it must be positive", o.timeout)}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	client, err := o.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	nodes, many, err := o.nodes(ctx, client)
	if err != nil {
		return err
	}
	if many {
		if q.Detach {
			return usageError{fmt.Errorf("--detach is for one node")}
		}
		return o.runMany(cmd, client, nodes, q)
	}
	q.On = nodes[0]
	return o.runOne(cmd, client, q)
}

// nodes reads --on. many is what was asked for, also when only one node is there: the form
// of the output must not depend on that.
func (o *runOptions) nodes(ctx context.Context, c *admin.Client) (names []string, many bool, err error) {
	if o.on == "all" {
		names, err = readyNodes(ctx, c)
		return names, true, err
	}
	names = strings.Split(o.on, ",")
	for i, n := range names {
		if n == "" || slices.Contains(names[:i], n) {
			return nil, false, usageError{fmt.Errorf("--on is %q: name each node once, with commas between them", o.on)}
		}
	}
	return names, len(names) > 1, nil
}

// readyNodes are all members.
func readyNodes(ctx context.Context, c *admin.Client) (names []string, err error) {
	self, err := c.Self(ctx)
	if err != nil {
		return nil, err
	}
	for name := range self.Members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// runOne is a command as if it ran here.
func (o *runOptions) runOne(cmd *cobra.Command, client *admin.Client, q admin.RunRequest) error {
	r, err := o.begin(cmd, client, q)
	if err != nil {
		return err
	}
	defer r.Close()
	if q.Detach {
		return left(r, cmd.OutOrStdout())
	}
	stop := forward(cmd.Context(), []*admin.Run{r})
	defer stop()
	if !q.NoStdin {
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		// goroutine: owner: the command line; ends with stdin, with the connection, or with the process of the command line
		go func() { _ = r.Stdin(ctx, cmd.InOrStdin()) }() // a command that reads no more is no failure of this one
	}
	last, err := relay(r, cmd.OutOrStdout(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if last.Error != nil && last.Exit == nil {
		return last.Error
	}
	if last.Error != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s (%s)\n", cmd.Root().Name(), printable(last.Error.Message), last.Error.Code)
	}
	if last.Exit.Code == 0 {
		return nil
	}
	return exitError(last.Exit.Code)
}

// Why the id comes last. The node first starts the process, then lets it go, and ends the
// connection when the other node has confirmed that it keeps it. An id that is printed is
// therefore one that can be attached to; a profile that does not keep is an error, and what
// was started has been ended.
//
// left prints the id of a process that was let go, when its node has said that it runs on.
func left(r *admin.Run, out io.Writer) error {
	id := ""
	for {
		f, err := r.Next()
		switch {
		case err != nil && id != "": // the node has said all
			_, err = fmt.Fprintln(out, id)
			return err
		case err != nil:
			return err
		case f.Error != nil:
			return f.Error
		case f.Started != nil:
			id = f.Started.ID
		}
	}
}

// A process has one owner at a time. Who attaches becomes it, with the right that starting it
// takes; when this command ends, the process is without an owner again and runs on.
//
// newProcAttach takes a process that runs without an owner.
func newProcAttach() *cobra.Command {
	var o runOptions
	cmd := completing(&cobra.Command{
		Use: "attach PROC", Short: "show the output of a process that was left running, and wait for its end", Args: exactArgs,
		Long: "Takes the process PROC, an id that 'loopmesh proc run --detach' or 'loopmesh proc ls' prints, which nobody else has: shows the newest of its\n" +
			"output, what follows, and ends with its exit code. One that has ended is shown, too, for as long as its profile keeps it. Ctrl-C reaches the process.",
		Example: "  loopmesh proc attach n2/backup/3",
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := o.attachment(cmd, args[0])
			if err != nil {
				return err
			}
			o.on = q.On
			return o.run(cmd, q)
		},
	}, attachable)
	o.reachFlags(cmd)
	return cmd
}

// begin starts the command; --timeout bounds the start.
func (o *runOptions) begin(cmd *cobra.Command, client *admin.Client, q admin.RunRequest) (*admin.Run, error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	return client.Run(ctx, q)
}

// Back pressure, all the way: writing to a pipe whose reader is slow waits here; meanwhile no
// frame is read, the node fills the socket and takes no more of the output, and the process
// waits in its write. So "proc run … | less" holds some hundred kilobytes, whatever it prints.
//
// relay writes what comes until the end, which it returns. When nobody reads our output any
// more, that is the end, too: closing r ends the process.
func relay(r *admin.Run, out, errs io.Writer) (last admin.RunFrame, err error) {
	for {
		f, err := r.Next()
		switch {
		case err != nil:
			return f, err
		case f.Exit != nil || f.Error != nil:
			return f, nil
		case len(f.Stdout) > 0:
			_, err = out.Write(f.Stdout)
		case len(f.Stderr) > 0:
			_, err = errs.Write(f.Stderr)
		}
		if err != nil {
			return f, fmt.Errorf("writing the output: %w", err)
		}
	}
}

// forward sends the signals of this process to the commands, until stop. Without Main, which
// has the signals, the end of ctx closes them.
func forward(ctx context.Context, runs []*admin.Run) (stop func()) {
	signals, release := interruptsOf(ctx).take()
	done, gone := make(chan struct{}), make(chan struct{})
	// goroutine: owner: forward, whose stop waits for it; ends with stop
	go func() {
		defer close(gone)
		for again := false; ; {
			select {
			case <-done:
				return
			case s := <-signals:
				sig := toForward(s, again)
				again = again || s == os.Interrupt
				for _, r := range runs {
					_ = r.Signal(sig) // one that has ended needs none
				}
			case <-ctx.Done():
				for _, r := range runs {
					r.Close()
				}
				<-done
				return
			}
		}
	}()
	return func() { close(done); <-gone; release() }
}

// A person who presses Ctrl-C twice wants it to end, whatever it does with SIGINT: SIGKILL is
// what cannot be ignored. SIGTERM is sent by service managers, which kill this command soon
// after, and its connection then ends the process.
//
// toForward is what the process gets for a signal of this one.
func toForward(s os.Signal, again bool) syscall.Signal {
	sig, ok := s.(syscall.Signal)
	if !ok || again && s == os.Interrupt {
		return syscall.SIGKILL
	}
	return sig
}

// exitOf is a word about the end of a process, for people, and whether it failed.
func exitOf(last admin.RunFrame, err error) (text string, failed bool) {
	var known *admin.Error
	switch {
	case err == nil && last.Error != nil:
		known = last.Error
	case errors.As(err, &known):
	case err != nil:
		return err.Error(), true
	default:
		return fmt.Sprintf("%s after %v", last.Exit, last.Exit.Took.Round(time.Millisecond)), last.Exit.Code != 0
	}
	text = known.Message
	if known.Code != "" {
		text += " (" + known.Code + ")"
	}
	return text, true
}
