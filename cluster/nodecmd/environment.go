package nodecmd

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Environment variables. Each flag that makes sense beyond one call can be set by
// LOOPMESH_ and its name; this serves services and containers, where a command line
// is hard to change. The order is: command line, variable, file of start, default. A variable for a
// flag that the command does not have is ignored, since one environment serves all
// commands; a variable that no command knows is warned about, because it is a
// misspelt one.

// variablePrefix marks the environment variables of this program. One with the prefix is read
// by every loop (package loopnode) and belongs to no flag.
const (
	variablePrefix = "LOOPMESH_"
	debugVariable  = "LOOPMESH_DEBUG"
)

// unknownVariables returns the names in env that have the prefix and belong to no
// flag, sorted. The values are not looked at: they may be secret.
func (p *program) unknownVariables(env []string) []string {
	var out []string
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		known := slices.ContainsFunc(p.variables(), func(flag string) bool { return variable(flag) == name })
		if strings.HasPrefix(name, variablePrefix) && !known && name != debugVariable {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// variables are the flags that an environment variable can set: --nats-url is
// LOOPMESH_NATS_URL. A flag on the command line wins.
var variables = []string{
	"admin-listen", "admin-token-file", "all", "allow-partial", "cluster", "config", "context", "credentials", "handover", "insecure", "join", "keys", "listen", "log-level", "loops", "name", "nats-url",
	"nkey", "node", "nodes", "output", "password-file", "port", "route-listen", "routes", "socket", "store", "store-sync", "timeout", "tls-ca", "tls-cert",
	"tls-key", "user", "voter",
}

// variables adds the flags of the program's services.
func (p *program) variables() []string {
	all := slices.Clone(variables)
	for _, s := range p.services {
		all = append(all, s.Name)
	}
	slices.Sort(all)
	return all
}

func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// environment is the page that lists the variables.
func (p *program) environment() string {
	text := "These variables set flags of the commands that have them; a flag on the command line wins, and\na variable wins over the file that start --config reads:\n\n"
	for _, f := range p.variables() {
		text += fmt.Sprintf("  %-24s --%s\n", variable(f), f)
	}
	return text + "\nThe admin sockets of the nodes are in $XDG_RUNTIME_DIR/loopmesh, or in loopmesh-UID of the temporary folder.\nThe output has no colour, so NO_COLOR changes nothing."
}

// applyEnvironment sets the flags of cmd that the command line does not set. It runs
// before every command. An empty variable counts as not set: shells and service files
// often cannot unset one.
func (p *program) applyEnvironment(cmd *cobra.Command, errs io.Writer) error {
	for _, name := range p.unknownVariables(os.Environ()) {
		fmt.Fprintf(errs, "%[1]s: warning: the variable %[2]s is not known and sets nothing; \"%[1]s environment\" lists those that are\n", p.name, name)
	}
	for _, name := range p.variables() {
		f := cmd.Flags().Lookup(name)
		value, ok := os.LookupEnv(variable(name))
		if f == nil || f.Changed || !ok || value == "" {
			continue
		}
		if err := cmd.Flags().Set(name, value); err != nil {
			return usageError{fmt.Errorf("%s is %q: %w", variable(name), value, explainFlagError(err))}
		}
		p.byVariable[name] = true
	}
	return nil
}
