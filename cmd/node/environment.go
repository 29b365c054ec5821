package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// variablePrefix marks the environment variables of this program.
const variablePrefix = "LOOPMESH_"

// unknownVariables returns the names in env that have the prefix and belong to
// no flag, sorted.
func unknownVariables(env []string) []string {
	var out []string
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		known := slices.ContainsFunc(variables, func(flag string) bool { return variable(flag) == name })
		if strings.HasPrefix(name, variablePrefix) && !known {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// variables are the flags that an environment variable can set: --nats-url is
// LOOPMESH_NATS_URL. A flag on the command line wins.
var variables = []string{
	"all", "allow-partial", "chat", "cluster", "credentials", "insecure", "join", "keys", "listen", "log-level", "loops", "name", "nats-url",
	"nkey", "node", "nodes", "output", "password-file", "port", "route-listen", "routes", "socket", "store", "timeout", "tls-ca", "tls-cert",
	"tls-key", "user", "voter",
}

func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

var environment = func() string {
	text := "A flag can be set by a variable; the command line wins:\n\n"
	for _, f := range variables {
		text += fmt.Sprintf("  %-24s --%s\n", variable(f), f)
	}
	return text + "\nXDG_RUNTIME_DIR is where the sockets of the nodes are, in loopmesh/. There is no colour, so NO_COLOR changes nothing."
}()

// fromEnvironment sets the flags of cmd that the command line does not set, and
// warns of variables that set nothing: a misspelt name would otherwise be
// ignored in silence.
func fromEnvironment(cmd *cobra.Command, errs io.Writer) error {
	for _, name := range unknownVariables(os.Environ()) {
		fmt.Fprintf(errs, "loopmesh: warning: the variable %s is not known and sets nothing; \"loopmesh environment\" lists those that are\n", name)
	}
	for _, name := range variables {
		f := cmd.Flags().Lookup(name)
		value, ok := os.LookupEnv(variable(name))
		if f == nil || f.Changed || !ok || value == "" {
			continue
		}
		if err := cmd.Flags().Set(name, value); err != nil {
			return usageError{fmt.Errorf("%s is %q: %w", variable(name), value, plainly(err))}
		}
	}
	return nil
}
