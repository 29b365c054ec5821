package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// variables are the flags that an environment variable can set: --nats-url is
// LOOPMESH_NATS_URL. A flag on the command line wins.
var variables = []string{
	"all", "allow-partial", "chat", "cluster", "credentials", "join", "listen", "log-level", "loops", "name", "nats-url", "node",
	"nodes", "output", "port", "socket", "timeout",
}

func variable(flag string) string {
	return "LOOPMESH_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

var environment = func() string {
	text := "A flag can be set by a variable; the command line wins:\n\n"
	for _, f := range variables {
		text += fmt.Sprintf("  %-24s --%s\n", variable(f), f)
	}
	return text + "\nXDG_RUNTIME_DIR is where the sockets of the nodes are, in loopmesh/. There is no colour, so NO_COLOR changes nothing."
}()

// fromEnvironment sets the flags of cmd that the command line does not.
func fromEnvironment(cmd *cobra.Command) error {
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
