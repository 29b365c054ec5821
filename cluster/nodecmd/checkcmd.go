package nodecmd

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The command check: is the cluster healthy? It is asked by people after something was
// changed, and by monitoring every minute. Both want the same: one sentence when all is
// well, and for each thing that is not, what it is, its code, and what to do.
//
// How does it differ from status? status shows and judges the states of nodes and loops;
// check judges everything that a node can tell, with limits, and shows only what is wrong.

const checkLong = `Checks the cluster and prints what is wrong, with a code for 'loopmesh explain' and what to do: nodes that are dead or silent,
loops that are blocked or late, tasks that wait for themselves, voters that are missing, streams without a leader, full disks,
descriptors that run out, keys that expire, clocks that differ, and nodes of several versions.
Exit code 0 when there is no error, 7 when there is one; with --strict a warning counts, too.
With --nagios it prints one line with performance data and ends with 0, 1 (warning), 2 (critical) or 3 (could not ask), as
Nagios and what descends from it want it.`

// usualLimits are the defaults, which a report uses, too.
func usualLimits() limits {
	return limits{lag: 100 * time.Millisecond, skew: time.Second, expires: 30 * 24 * time.Hour, free: 1024 << 20, used: 80}
}

// Each limit is a flag with a default that suits a cluster on one site: a loop that is late
// by a tenth of a second is felt by people; a clock that is off by a second moves timers; a
// month is enough to make new keys; a gigabyte is half an hour of a busy store.
// newCheck asks one node, which asks all.
func newCheck() *cobra.Command {
	var o target
	var strict, nagios bool
	var free int
	at := limits{}
	cmd := &cobra.Command{
		Use: "check", Short: "check that the cluster is healthy, and print what is not", Long: checkLong, Args: noArgs,
		Example: "  loopmesh check\n  loopmesh check --members 3 --lag 50ms --strict\n  loopmesh check --nagios",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := at.check(free); err != nil {
				return err
			}
			at.free = uint64(free) << 20
			seen, err := ask(cmd, &o, lookFor)
			if nagios {
				return nagiosLine(cmd, seen, err, at)
			}
			if err != nil {
				return err
			}
			list := &admin.List[finding]{Kind: "FindingList", APIVersion: admin.APIVersion, Time: seen.nodes.Time, Items: judge(seen, at)}
			if err := showFindings(cmd, &o.output, list, seen); err != nil {
				return err
			}
			return verdict(list.Items, strict)
		},
	}
	o.flags(cmd)
	f, usual := cmd.Flags(), usualLimits()
	f.BoolVar(&strict, "strict", false, "a warning makes the exit code 7, too")
	f.BoolVar(&nagios, "nagios", false, "print one line for Nagios and use its exit codes")
	f.IntVar(&at.members, "members", 0, "an error when fewer nodes than this are ready (0: any number will do)")
	f.DurationVar(&at.lag, "lag", usual.lag, "a warning when a loop runs later than this")
	f.DurationVar(&at.skew, "skew", usual.skew, "a warning when a clock differs by more than this")
	f.DurationVar(&at.expires, "expires", usual.expires, "a warning when keys or a certificate end within this time")
	f.IntVar(&free, "free", int(usual.free>>20), "a warning when the disk of a store has fewer MiB than this")
	f.IntVar(&at.used, "descriptors", usual.used, "a warning when so many percent of a node's descriptors are open")
	return cmd
}

// check refuses limits that mean nothing.
func (at limits) check(free int) error {
	switch {
	case at.members < 0 || free < 0:
		return usageError{fmt.Errorf("--members is %d and --free %d; neither may be negative", at.members, free)}
	case at.lag <= 0 || at.skew <= 0 || at.expires < 0:
		return usageError{fmt.Errorf("--lag is %v, --skew %v and --expires %v; give positive times", at.lag, at.skew, at.expires)}
	case at.used < 1 || at.used > 100:
		return usageError{fmt.Errorf("--descriptors is %d; give 1 to 100 percent", at.used)}
	}
	return nil
}

// counts are how many errors and warnings there are.
func counts(all []finding) (errors, warnings int) {
	for _, f := range all {
		if f.Level == levelError {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

// The verdict comes after the page, on stderr, as with status: a program that reads stdout gets
// the whole list, and one that looks at the exit code knows that it is not empty.
// verdict is the error of the command when something is wrong.
func verdict(all []finding, strict bool) error {
	bad, warn := counts(all)
	if bad > 0 || strict && warn > 0 {
		return conditionError{fmt.Errorf("not everything is healthy: %s", tallyText(bad, warn))}
	}
	return nil
}

func tallyText(bad, warn int) string { return plural(bad, "error") + ", " + plural(warn, "warning") }

// showFindings prints a page for people, and a list otherwise.
func showFindings(cmd *cobra.Command, o *output, list *admin.List[finding], seen *look) error {
	if o.format != formatTable {
		return show(cmd, o, list,
			column[finding]{"SUBJECT", func(f finding) string { return f.ID }}, column[finding]{"LEVEL", func(f finding) string { return f.Level }},
			column[finding]{"CODE", func(f finding) string { return f.Code }}, column[finding]{"WHAT", func(f finding) string { return f.Text }},
			column[finding]{"DO", func(f finding) string { return named(f.Do, cmd.Root().Name()) }})
	}
	var b strings.Builder
	for _, f := range list.Items {
		fmt.Fprintf(&b, "%-5s  %s  %s\n", strings.ToUpper(f.Level), f.Code, printable(f.ID+" "+f.Text))
		fmt.Fprintf(&b, "       do: %s\n", printable(named(f.Do, cmd.Root().Name())))
	}
	bad, warn := counts(list.Items)
	fmt.Fprintf(&b, "%s: %s\n", tallyText(bad, warn), seen.text())
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

// How much was looked at stands at the end of every page: three nodes where there should be
// five is seen by a person there, although no limit says so.
// text is what was looked at: a check of nothing must not look like a good one.
func (l *look) text() string {
	store := "no store"
	if l.noStore == nil {
		store = plural(len(l.streams.Items), "stream")
	}
	return strings.Join([]string{plural(len(l.nodes.Items), "node"), plural(len(l.loops.Items), "loop"), plural(len(l.tasks.Items), "task"), store}, ", ") + " looked at"
}

// Exit codes of --nagios. They are not those of this program, hence their own error.
const (
	nagiosOK       = 0
	nagiosWarning  = 1
	nagiosCritical = 2
	nagiosUnknown  = 3
)

// It is an error like the others on its way up, so that no command ends the process itself;
// printError gives its number and prints nothing.
// exitError is an exit code of another table; what there is to say has been printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Nagios and its heirs read the first line of stdout, cut the data off at the bar, and take
// four exit codes. Anything else, an error on stderr with code 4, would be shown as "unknown"
// without a reason. So in this form every end of the command is such a line.
// nagiosLine prints the line. A question that could not be put is UNKNOWN on stdout, where
// a plug-in's only line has to be.
func nagiosLine(cmd *cobra.Command, seen *look, failed error, at limits) error {
	if failed != nil {
		e, _ := classify(cmd, failed)
		return nagiosEnd(cmd, nagiosUnknown, "UNKNOWN", oneLine(e.Message), "")
	}
	all := judge(seen, at)
	bad, warn := counts(all)
	data := fmt.Sprintf("errors=%d warnings=%d nodes=%d loops=%d tasks=%d lag=%.3fms", bad, warn, len(seen.nodes.Items), len(seen.loops.Items), len(seen.tasks.Items), float64(seen.worstLag())/1000)
	if len(all) == 0 {
		return nagiosEnd(cmd, nagiosOK, "OK", seen.text(), data)
	}
	var texts []string
	for _, f := range all {
		texts = append(texts, f.ID+" "+f.Text+" ("+f.Code+")")
	}
	code, word := nagiosWarning, "WARNING"
	if bad > 0 {
		code, word = nagiosCritical, "CRITICAL"
	}
	return nagiosEnd(cmd, code, word, tallyText(bad, warn)+": "+strings.Join(texts, "; "), data)
}

// oneLine keeps the first line.
func oneLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// nagiosEnd prints the line and gives the exit code. A bar begins the data, so the text has
// none.
func nagiosEnd(cmd *cobra.Command, code int, word, text, data string) error {
	line := "LOOPMESH " + word + " - " + printable(strings.ReplaceAll(text, "|", "/"))
	if data != "" {
		line += " | " + data
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
		return err
	}
	if code == nagiosOK {
		return nil
	}
	return exitError(code)
}

// worstLag is the largest lag of all loops, in microseconds.
func (l *look) worstLag() (us int64) {
	for _, loop := range l.loops.Items {
		if loop.Measured != nil {
			us = max(us, loop.Measured.LagP99US)
		}
	}
	return us
}
