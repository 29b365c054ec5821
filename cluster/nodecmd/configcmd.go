package nodecmd

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The commands about the configuration of start. They read what start would read and
// start nothing: a mistake is found before the node is stopped.

// newConfig holds the three: init for the first file, check before a restart, show when a
// value is not what its owner thought.
func newConfig(p *program) *cobra.Command {
	return group("config", "make, check and show the configuration of start", newConfigInit(p), newConfigCheck(p), newConfigShow(p))
}

// newConfigInit prints every key with its default as a comment, so that the file says
// only what its owner decided.
func newConfigInit(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "init", Short: "print a configuration with every key and its default", Args: noArgs,
		Example: "  loopmesh config init > node.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "# What \"%s start --config FILE\" reads. A flag on the command line or a variable\n# (%s environment) wins over a line here. A key that takes several values takes a list: [a, b].\n", p.name, p.name)
			newStart(p).Flags().VisitAll(func(f *pflag.Flag) {
				if configurable(f.Name) {
					fmt.Fprintf(out, "\n# %s\n# %s: %s\n", f.Usage, f.Name, defaultOf(f))
				}
			})
			return nil
		},
	}
}

// defaultOf is the default of a flag as YAML.
func defaultOf(f *pflag.Flag) string {
	if _, list := f.Value.(pflag.SliceValue); list {
		return "[]"
	}
	if f.Value.Type() == "string" {
		return fmt.Sprintf("%q", f.DefValue)
	}
	return f.DefValue
}

// newConfigCheck says whether start would take the configuration, as far as that can be
// known without starting.
func newConfigCheck(p *program) *cobra.Command {
	o := newStartOptions(p)
	cmd := &cobra.Command{
		Use: "check", Short: "check the configuration of start without starting", Args: noArgs,
		Long: "Checks the file, the variables and the flags as start does before it opens anything, with the same errors and exit codes:\n" +
			"which of them exclude each other, the keys, the voters, the profiles, whose the store is, what is open to other machines. What only a\n" +
			"start can tell (a port in use, voters with another list, keys that the cluster does not take) is not checked.",
		Example: "  loopmesh config check --config node.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines, err := applyFile(cmd, o.file)
			if err != nil {
				return err
			}
			if err := o.check(cmd); err != nil {
				return located(err, cmd, o.file, lines)
			}
			if _, err := readProfiles(o.profiles); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the configuration is in order")
			return err
		},
	}
	o.flags(cmd, p)
	return cmd
}

// newConfigShow answers the question that three sources raise: why does the node have
// this value? It takes the flags of start, so that a whole command line can be tried.
func newConfigShow(p *program) *cobra.Command {
	o := newStartOptions(p)
	var out output
	cmd := &cobra.Command{
		Use: "show", Short: "show what start would use, and where each value comes from", Args: noArgs,
		Example: "  loopmesh config show --config node.yaml\n  LOOPMESH_LOOPS=4 loopmesh config show -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			fromFile, err := applyFile(cmd, o.file)
			if err != nil {
				return err
			}
			list := &admin.List[admin.Setting]{Kind: "SettingList", APIVersion: admin.APIVersion, Time: time.Now(), Items: settings(cmd, p.byVariable, fromFile, o.file)}
			return show(cmd, &out, list,
				column[admin.Setting]{"KEY", func(s admin.Setting) string { return s.Key }},
				column[admin.Setting]{"VALUE", func(s admin.Setting) string { return s.Value }},
				column[admin.Setting]{"ORIGIN", func(s admin.Setting) string { return s.Origin }})
		},
	}
	o.flags(cmd, p)
	out.flag(cmd)
	return cmd
}

// The order of the cases is that of the sources, the winner first: a flag that both the
// file and the command line name was not set by the file, so it is not in fromFile.

// settings says of each key what start would use and where it comes from.
func settings(cmd *cobra.Command, byVariable map[string]bool, fromFile map[string]int, path string) (out []admin.Setting) {
	for _, key := range configKeys(cmd) {
		f := cmd.Flags().Lookup(key)
		s := admin.Setting{Key: key, Value: valueOf(f), Origin: "default"}
		switch {
		case fromFile[key] > 0:
			s.Origin = path
		case byVariable[key]:
			s.Origin = variable(key)
		case f.Changed:
			s.Origin = "command line"
		}
		out = append(out, s)
	}
	return out
}

// valueOf is the value of a flag without the password that a URL may hold.
func valueOf(f *pflag.Flag) string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return strings.Join(list.GetSlice(), ",")
	}
	value := f.Value.String()
	if !strings.Contains(value, "@") {
		return value
	}
	parts := strings.Split(value, ",")
	for i, part := range parts {
		if u, err := url.Parse(part); err == nil {
			parts[i] = u.Redacted()
		}
	}
	return strings.Join(parts, ",")
}
