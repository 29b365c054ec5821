package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// Waiting for a state of the cluster, so that scripts need no loop with a sleep in it. A
// condition is looked at again and again until it is true or the time is over. That no node
// answers is not an error of the command but a reason why the condition is false: the usual
// script starts nodes and then waits for them.

// condition is something that can be true of a cluster: why says why it is not, "" when it
// is.
type condition struct {
	text string
	why  func(*view) string
}

// view is one look at the cluster.
type view struct {
	nodes *admin.List[admin.Node]
	loops *admin.List[admin.Loop]
	tasks *admin.List[admin.Task]
}

const conditionsHelp = "ready (every node is ready and every loop answers), members=N (that many nodes are ready), lag<50ms (no loop runs\n" +
	"later), healthy (ready, and no task waits for itself); several with commas between them"

// parseConditions reads --for.
func parseConditions(text string) (out []condition, err error) {
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		c := condition{text: part}
		switch name, value, _ := strings.Cut(part, "="); {
		case part == "ready":
			c.why = notReady
		case part == "healthy":
			c.why = notHealthy
		case name == "members":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return nil, usageError{fmt.Errorf("--for has %q; write members= and a number from 1", part)}
			}
			c.why = func(v *view) string { return tooFew(v, n) }
		case strings.HasPrefix(part, "lag<"):
			most, err := time.ParseDuration(strings.TrimPrefix(part, "lag<"))
			if err != nil || most <= 0 {
				return nil, usageError{fmt.Errorf("--for has %q; write lag< and a duration, as lag<50ms", part)}
			}
			c.why = func(v *view) string { return tooLate(v, most) }
		default:
			return nil, usageError{fmt.Errorf("there is no condition %q; there is %s", part, strings.ReplaceAll(conditionsHelp, "\n", " "))}
		}
		out = append(out, c)
	}
	return out, nil
}

// notReady names the first node that is not ready, or the first loop that does not answer.
// A node that left on purpose is in no list that is asked for here.
func notReady(v *view) string {
	for _, n := range v.nodes.Items {
		if n.State != admin.Ready {
			return n.ID + " is " + n.State
		}
	}
	if len(v.nodes.Partial) > 0 {
		return v.nodes.Partial[0].ID + " does not answer"
	}
	return ""
}

// tooFew counts nodes that are ready; others do not matter.
func tooFew(v *view, want int) string {
	have := 0
	for _, n := range v.nodes.Items {
		if n.State == admin.Ready {
			have++
		}
	}
	if have >= want {
		return ""
	}
	return fmt.Sprintf("%d of %d nodes are ready", have, want)
}

// tooLate names the first loop that is later than most. One that does not answer is.
func tooLate(v *view, most time.Duration) string {
	if len(v.loops.Partial) > 0 {
		return v.loops.Partial[0].ID + " does not answer"
	}
	for _, l := range v.loops.Items {
		if l.Measured == nil || l.State == admin.Blocked {
			return l.ID + " is blocked"
		}
		if lag := time.Duration(l.Measured.LagP99US) * time.Microsecond; lag >= most {
			return fmt.Sprintf("%s runs %v late", l.ID, lag)
		}
	}
	return ""
}

// notHealthy is notReady, and tasks that wait for themselves.
func notHealthy(v *view) string {
	if why := notReady(v); why != "" {
		return why
	}
	if i := slices.IndexFunc(v.tasks.Items, func(t admin.Task) bool { return t.Circle }); i >= 0 {
		return v.tasks.Items[i].ID + " (" + v.tasks.Items[i].Name + ") waits for itself"
	}
	return ""
}

// Times of wait: between two looks, the most of one, and of all by default.
const (
	waitEvery = 200 * time.Millisecond
	waitLook  = 5 * time.Second
	waitLimit = 30 * time.Second
	waitLeast = 1500 * time.Millisecond // of a look but the first
)

// newWait ends with 0 when all conditions are true at one look, and with 5 and the reason
// when the time is over.
func newWait() *cobra.Command {
	var o target
	var text string
	cmd := &cobra.Command{
		Use: "wait", Short: "wait until the cluster is in a state", Args: noArgs,
		Long:    "Waits until all conditions of --for are true at once: " + conditionsHelp + ".\nA node that does not answer yet is waited for. Exit code 5 when --timeout is over; the reason is on stderr.",
		Example: "  loopmesh wait --for members=3\n  loopmesh wait --for 'healthy,lag<50ms' --timeout 1m",
		RunE: func(cmd *cobra.Command, _ []string) error {
			conditions, err := parseConditions(text)
			if err == nil {
				err = o.check()
			}
			if err == nil && o.timeout <= 0 {
				err = usageError{fmt.Errorf("--timeout is %v; it must be positive", o.timeout)}
			}
			if err != nil {
				return err
			}
			begun := time.Now()
			if err := waitFor(cmd.Context(), &o, conditions); err != nil {
				return err
			}
			return showWaited(cmd, &o, text, time.Since(begun))
		},
	}
	o.flags(cmd)
	f := cmd.Flags().Lookup("timeout")
	f.DefValue, o.timeout = waitLimit.String(), waitLimit
	cmd.Flags().StringVar(&text, "for", "ready", "what to wait for: "+strings.ReplaceAll(conditionsHelp, "\n", " "))
	return cmd
}

// showWaited says what has become true, to programs only: exit code 0 says it to people.
func showWaited(cmd *cobra.Command, o *target, text string, took time.Duration) error {
	if o.forPrograms() {
		return o.document(cmd, map[string]any{"kind": "Waited", "apiVersion": admin.APIVersion, "for": text, "took_ms": took.Milliseconds()})
	}
	if o.format == formatName {
		_, err := io.WriteString(cmd.OutOrStdout(), text+"\n")
		return err
	}
	return nil
}

// waitFor looks until all conditions are true. The reason of the last look is kept: a
// "deadline exceeded" would not say what was waited for.
func waitFor(ctx context.Context, o *target, conditions []condition) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	tick := time.NewTicker(waitEvery)
	defer tick.Stop()
	for why := ""; ; {
		// A look that has no time finds everybody silent: the one before says more.
		if at, _ := ctx.Deadline(); why != "" && time.Until(at) < waitLeast {
			<-ctx.Done()
			return o.notWithin(ctx, why)
		}
		var err error
		why, err = lookOnce(ctx, o, conditions)
		switch {
		case err != nil:
			return err
		case why == "":
			return nil
		}
		select {
		case <-ctx.Done():
			return o.notWithin(ctx, why)
		case <-tick.C:
		}
	}
}

// notWithin is the end of a wait: by its time, with what was not true, or by Ctrl-C.
func (o *target) notWithin(ctx context.Context, why string) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	return &admin.Error{Kind: admin.TimedOut, Message: fmt.Sprintf("not within %v: %s", o.timeout, why), Hint: "give it more with --timeout, or look with status"}
}

// lookOnce says why the first of the conditions that is not true is not. An error is one
// that the next look would have, too: a wrong target.
func lookOnce(ctx context.Context, o *target, conditions []condition) (string, error) {
	look, cancel := context.WithTimeout(ctx, waitLook)
	defer cancel()
	client, err := o.client(look)
	if err != nil {
		return whyOrError(err)
	}
	defer client.Close()
	v := &view{}
	if v.nodes, err = client.Nodes(look); err == nil {
		v.loops, err = client.MeasuredLoops(look, defaultMeasure)
	}
	if err == nil {
		v.tasks, err = client.Tasks(look, 1)
	}
	if err != nil {
		return whyOrError(err)
	}
	for _, c := range conditions {
		if why := c.why(v); why != "" {
			return c.text + ": " + why, nil
		}
	}
	return "", nil
}

// whyOrError tells a node that does not answer yet from a command line that never will. Nodes
// that do not know each other may just not have met: those of one start are waited for.
func whyOrError(err error) (string, error) {
	var asked *admin.Error
	if errors.As(err, &asked) && (asked.Kind != admin.BadRequest && asked.Kind != admin.Refused || asked.Code == admin.CodeManyTargets) {
		return asked.Message, nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the node does not answer in time", nil
	}
	return "", err
}
