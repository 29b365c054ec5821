package nodecmd

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

const pprofLong = `Makes a profile of the process of NODE and writes it to a file for 'go tool pprof FILE'. --of is cpu, heap, allocs, goroutine, mutex,
block, or stacks (all goroutines as text, with gzip). Those of cpu, mutex and block are measured for --seconds.
A CPU profile tells the time of each task: go tool pprof -tags FILE.
The node that is asked needs the right admin on NODE. One profile of a process at a time.`

// mostProfile is the longest profile that a node makes.
const mostProfile = 60

// What may be asked for is decided twice: here, so that a mistake costs nothing, and by the
// node, since other programs ask it, too. The time that is measured is added to --timeout,
// which stays what it is for every command: how long to wait for an answer.
// newPprof writes a profile to a file and never to the terminal: it is binary.
func newPprof() *cobra.Command {
	var o target
	var of, path string
	seconds := 10
	cmd := &cobra.Command{
		Use: "pprof NODE", Short: "make a profile of a node that runs", Long: pprofLong, Args: exactArgs, ValidArgsFunction: suggestNodes,
		Example: "  loopmesh pprof n2 --seconds 20\n  loopmesh pprof n2 --of heap --file heap.pprof",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case seconds < 1 || seconds > mostProfile:
				return usageError{fmt.Errorf("--seconds is %d; give 1 to %d", seconds, mostProfile)}
			case !slices.Contains(admin.ProfileKinds(), of):
				return usageError{fmt.Errorf("--of is %q; there is %s", of, strings.Join(admin.ProfileKinds(), ", "))}
			case o.timeout <= 0:
				return usageError{fmt.Errorf("--timeout is %v; it must be positive", o.timeout)}
			}
			if path == "" {
				path = args[0] + "-" + of + ".pprof"
				if of == "stacks" {
					path = args[0] + "-stacks.txt.gz"
				}
			}
			if _, err := os.Lstat(path); err == nil {
				return usageError{fmt.Errorf("%s is there already: give another name with --file", path)}
			}
			d := time.Duration(seconds) * time.Second
			o.timeout += d // what is measured is not waiting
			p, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Profile, error) {
				return c.Profile(ctx, args[0], of, d)
			})
			if err != nil {
				return err
			}
			if err := writeNew(path, p.Data); err != nil {
				return err
			}
			return sayWrote(cmd, &o.output, "ProfileFile", path, len(p.Data))
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&of, "of", "cpu", "what: "+strings.Join(admin.ProfileKinds(), ", "))
	f.IntVar(&seconds, "seconds", seconds, "how long cpu, mutex and block are measured, 1 to 60")
	f.StringVar(&path, "file", "", "where to write it (default NODE-OF.pprof)")
	_ = cmd.RegisterFlagCompletionFunc("of", completeFrom(admin.ProfileKinds()...)) // the flag is there
	return cmd
}

// writeNew writes a file for its owner only, and over none that is there: what was measured
// before an accident must not be lost by the command that is repeated after it.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		if _, err = f.Write(data); err == nil {
			err = f.Close()
		} else {
			_ = f.Close()
		}
	}
	if err != nil {
		return usageError{fmt.Errorf("%w: give another one with --file", err)}
	}
	return nil
}
