package nodecmd

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// newMan writes the manual pages, one for each command, for packages to install and for
// "man -l". Their text is that of --help: there is one place where it is written.
func newMan(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "write the manual pages of all commands into a folder", Args: exactArgs,
		Long:    "Writes a manual page of section 1 for each command into the folder, which has to exist. A page that is there is replaced.",
		Example: "  loopmesh man /usr/local/share/man/man1 && man loopmesh-start",
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := os.Stat(args[0])
			if err != nil {
				return usageError{fmt.Errorf("the folder for the pages: %w", err)}
			}
			if !info.IsDir() {
				return usageError{fmt.Errorf("%s is no folder; the pages are files in one", args[0])}
			}
			version, _ := admin.Version()
			head := &doc.GenManHeader{Section: "1", Source: p.name + " " + version, Manual: p.name}
			if err := doc.GenManTree(cmd.Root(), head, args[0]); err != nil {
				return err
			}
			pages, err := filepath.Glob(filepath.Join(args[0], cmd.Root().Name()+"*.1"))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d pages in %s\n", len(pages), args[0])
			return err
		},
	}
}
