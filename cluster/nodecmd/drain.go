package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The command drain, and what start does at a signal: a node leaves in good order (package
// drain). The command follows it from outside: it orders the drain, asks again and again
// how far it is, and prints what it waits for. When the node does not answer any more, it
// has left, or it has died: which of the two, a node that stays knows.

const (
	maxDrain    = time.Hour
	drainLooks  = 100 * time.Millisecond
	drainSilent = 5 * time.Second // without an answer of a node that is still a member
	flushLimit  = 5 * time.Second // for the last spans, when the node has left
)

// newDrain lets a node leave.
func newDrain() *cobra.Command {
	var o target
	var limit, notice time.Duration
	cmd := &cobra.Command{
		Use: "drain [NODE]", Short: "let a node leave in good order, and wait for it",
		Long: "Lets NODE leave the cluster, by default the one that is asked: its loops leave their groups, its singletons move, it takes no calls any\n" +
			"more, connections are told, and what runs there ends. What it waits for is printed on stderr while it waits. What has not ended\n" +
			"after --limit is cut off: then the exit code is 5. The process of a node that was started by 'loopmesh start' ends.\n" +
			"Ctrl-C ends this command; the drain goes on. With --notice the node first only says that it is not ready (/readyz), and 'loopmesh resume'\n" +
			"takes the drain back until that time is over.",
		Example: "  loopmesh drain n2\n  loopmesh drain n2 --notice 30s --limit 10m",
		Args:    oneNodeAtMost,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 || limit > maxDrain {
				return usageError{fmt.Errorf("--limit is %v; give 0s to %v", limit, maxDrain)}
			}
			if notice < 0 || notice > maxDrain {
				return usageError{fmt.Errorf("--notice is %v; give 0s to %v", notice, maxDrain)}
			}
			return drainNode(cmd, &o, args, limit, notice)
		},
		ValidArgsFunction: suggestNodes,
	}
	o.flags(cmd)
	cmd.Flags().DurationVar(&limit, "limit", time.Minute, "how long what runs on the node may take")
	cmd.Flags().DurationVar(&notice, "notice", 0, "begin after this time, in which 'resume' takes it back")
	return cmd
}

// Why is there no way back from a drain that runs? What it has given away belongs to others by
// then: a singleton that came back would run twice, and clients that were told to go have gone.
// A command that pretended otherwise would leave a node that looks ready and serves nothing.
//
// newResume takes a drain back. It names its node, as all that changes how one lives does.
func newResume() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "resume NODE", Short: "take a drain back that has not begun", Args: exactArgs, ValidArgsFunction: suggestNodes,
		Long: "Takes back the drain of NODE that was ordered with --notice, before that time is over: the node is ready again. Afterwards it is refused\n" +
			"(exit code 6): what the node has given away does not come back. Exit code 3 when no drain is ordered.",
		Example: "  loopmesh resume n2",
		RunE: func(cmd *cobra.Command, args []string) error {
			return runOperation(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Done, error) { return c.Resume(ctx, args[0]) })
		},
	}
	o.flags(cmd)
	return cmd
}

// drainNode orders the drain and follows it.
func drainNode(cmd *cobra.Command, o *target, args []string, limit, notice time.Duration) error {
	if err := o.check(); err != nil {
		return err
	}
	var client *admin.Client
	var name string
	_, err := ask(cmd, o, func(ctx context.Context, c *admin.Client) (done *admin.Done, err error) {
		self, err := c.Self(ctx)
		if err != nil {
			return nil, err
		}
		if name = self.Name; len(args) > 0 {
			name = args[0]
		}
		if client, err = o.client(ctx); err != nil {
			return nil, err
		}
		return c.DrainLater(ctx, name, limit, notice)
	})
	if client != nil {
		defer client.Close()
	}
	if err != nil {
		return err
	}
	f := &drainFollow{client: client, name: name, timeout: o.timeout, errs: cmd.ErrOrStderr()}
	if err := f.follow(cmd.Context()); err != nil {
		return err
	}
	switch {
	case o.forPrograms():
		return o.document(cmd, f.last)
	case o.format == formatName:
		_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
	default:
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s has left\n", printable(name))
	}
	return err
}

// How it ends. While the node answers, what it says is printed when it changes. When it does
// not, the members decide: gone on purpose is success, dead is not, and one that is a member
// and silent is asked again for drainSilent: it may be in the last moments of its leaving.
// The last answer says what was cut off, since a node waits a moment before it goes.

// drainFollow follows one drain.
type drainFollow struct {
	client  *admin.Client
	name    string
	timeout time.Duration // of each question
	errs    io.Writer
	last    *admin.Drain
	printed string
}

// follow asks until the node has left.
func (f *drainFollow) follow(ctx context.Context) error {
	tick := time.NewTicker(drainLooks)
	defer tick.Stop()
	for heard := time.Now(); ; {
		asking, cancel := context.WithTimeout(ctx, f.timeout)
		now, err := f.client.Draining(asking, f.name)
		cancel()
		switch {
		case err == nil:
			heard = time.Now()
			if f.last != nil && len(f.last.Steps) > 0 && len(now.Steps) == 0 {
				return &admin.Error{Kind: admin.Failed, Code: admin.CodeResumed, Message: fmt.Sprintf("the drain of %s was taken back", f.name), Hint: "'loopmesh events' tells when"}
			}
			f.print(now)
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			if over, end := f.over(ctx); over || time.Since(heard) > drainSilent {
				return errors.Join(end, f.cutOff())
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// print tells what has changed.
func (f *drainFollow) print(now *admin.Drain) {
	f.last = now
	for _, s := range now.Steps {
		if line := fmt.Sprintf("%s: waits for %s", s.ID, strings.Join(s.Waits, ", ")); !s.Done && len(s.Waits) > 0 && line != f.printed {
			f.printed = line
			fmt.Fprintln(f.errs, printable(line))
		}
	}
}

// over asks the node that is asked whether the other one is a member still. One that does
// not answer itself was the one that has left.
func (f *drainFollow) over(ctx context.Context) (bool, error) {
	asking, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	list, err := f.client.Nodes(asking)
	if err != nil {
		return true, nil
	}
	at := slices.IndexFunc(list.Items, func(n admin.Node) bool { return n.ID == f.name })
	if at < 0 {
		return true, nil // who left on purpose is not listed
	}
	if list.Items[at].State == "dead" {
		return true, &admin.Error{Kind: admin.Unreachable, Message: fmt.Sprintf("%s died while it was drained", f.name), Hint: "'loopmesh events' tells more"}
	}
	return false, nil
}

// cutOff is the error of a drain that did not wait for everything.
func (f *drainFollow) cutOff() error {
	if f.last == nil {
		return nil
	}
	var cut []string
	for _, s := range f.last.Steps {
		if s.Done {
			cut = append(cut, s.Waits...)
		}
	}
	if len(cut) == 0 {
		return nil
	}
	return &admin.Error{
		Kind: admin.TimedOut, Message: fmt.Sprintf("%s has left, and did not wait for %s", f.name, strings.Join(cut, ", ")),
		Hint: "give what runs more time with --limit",
	}
}

// drain lets the node leave at a signal. The admin socket goes last: who drains a node may
// look at what it waits for.
func (r *runningNode) drain(limit time.Duration, out io.Writer) error {
	err := r.admin.Drain(limit, func(line string) { fmt.Fprintln(out, printable(line)) })
	r.admin.Close()
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	return errors.Join(err, r.flush(ctx))
}
