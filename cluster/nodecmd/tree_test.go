package nodecmd

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// walk visits every command.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}

func TestEveryCommand(t *testing.T) {
	walk(newRoot(newProgram(demoOptions), io.Discard, io.Discard), func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		name := cmd.CommandPath()
		if cmd.RunE == nil || cmd.Run != nil {
			t.Errorf("%s: cobra prints its help and exits 0 without RunE", name)
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: Short is %q", name, cmd.Short)
		}
		if cmd.Name() == "help" {
			return
		}
		if cmd.Args == nil {
			t.Errorf("%s takes any arguments", name)
		}
		if s := loopmesh(append(path, "one", "two", "three")...); s.code != exitUsage || s.out != "" || !strings.Contains(s.errs, "--help'") {
			t.Errorf("%s with too many words: %+v", name, s)
		}
		if s := loopmesh(append(path, "--no-such-flag")...); s.code != exitUsage || s.out != "" || !strings.Contains(s.errs, "--no-such-flag") {
			t.Errorf("%s with an unknown flag: %+v", name, s)
		}
		if s := loopmesh(append(path, "--help")...); s.code != exitOK || s.errs != "" || !strings.Contains(s.out, "Usage:") {
			t.Errorf("%s --help: %+v", name, s)
		}
		if s := loopmesh(append([]string{"help"}, path...)...); s.code != exitOK || s.errs != "" || !strings.Contains(s.out, "Usage:") {
			t.Errorf("help %s: %+v", name, s)
		}
		if cmd.Flags().Lookup("output") != nil && cmd.Name() != "version" {
			if cmd.Example == "" {
				t.Errorf("%s has no example", name)
			}
			args := append(path, "-o", "xml")
			for range strings.Count(cmd.Use, " ") { // its arguments
				args = append(args, "1")
			}
			if s := loopmesh(append(args, "--on=n1/io-0")...); cmd.Name() == "call" && s.code != exitUsage {
				t.Errorf("%s -o xml: %+v", name, s)
			}
			if s := loopmesh(args...); cmd.Name() != "call" && (s.code != exitUsage || !strings.Contains(s.errs, `"xml"`)) {
				t.Errorf("%s -o xml: %+v", name, s)
			}
		}
	})
}

func TestHintsNameTheProgramAsItWasStarted(t *testing.T) {
	for arg0, want := range map[string]string{
		"loopmesh": "loopmesh", "/usr/local/bin/node": "loopmesh",
		filepath.Join("tmp", "go-build123", "b001", "exe", "node"): "go run ./cluster/nodecmd.test",
	} {
		if got := calledAs(arg0, "loopmesh"); got != want {
			t.Errorf("%s: %q, want %q", arg0, got, want)
		}
	}
}

func TestWordsNobodyKnows(t *testing.T) {
	for _, c := range []struct {
		args string
		errs string
	}{
		{"func typo", `there is no command "typo" in "loopmesh func"`},
		{"func cal", `did you mean call?`},
		{"stauts", "status"},
		{"help nonsense", `no help about "nonsense"`},
		{"help func nonsense", `no help about "func nonsense"`},
		{"completion tcsh", `no completion for "tcsh"`},
		{"completion", "needs SHELL"},
		{"conn write x", "needs CONN and TEXT"},
		{"top", "needs a terminal"},
		{"status n1 n2", "takes one node, got 2"},
		{"dev --nodes x", `"x" for "--nodes" flag: it takes a whole number`},
		{"start --voter=yes", `"yes" for "--voter" flag: it takes true or false`},
		{"ls --timeout 5", `"5" for "--timeout" flag: it takes a duration such as`},
		{"ls --timeout soon", "it takes a duration such as"},
		{"dev --nodes 99999999999999999999", "the number is too large"},
	} {
		if s := loopmesh(strings.Fields(c.args)...); s.code != exitUsage || s.out != "" || !strings.Contains(s.errs, c.errs) {
			t.Errorf("%s: %+v", c.args, s)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if s := loopmesh("completion", shell); s.code != exitOK || !strings.Contains(s.out, "loopmesh") || s.errs != "" {
			t.Errorf("%s: code %d, %s", shell, s.code, s.errs)
		}
	}
	village(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"func", "call", ""}, "demo.add"},
		{[]string{"func", "call", "demo.add", "--on", ""}, "n3/io-0"},
		{[]string{"ls", "--node", ""}, "n2"},
		{[]string{"status", ""}, "n3"},
		{[]string{"ls", "-o", ""}, "json"},
		{[]string{"st"}, "status"},
	} {
		if s := loopmesh(append([]string{"__complete"}, c.args...)...); s.code != exitOK || !strings.Contains(s.out, c.want) {
			t.Errorf("%q: %+v", c.args, s)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Run("a variable sets a flag", func(t *testing.T) {
		t.Setenv("LOOPMESH_OUTPUT", "json")
		if s := loopmesh("version"); s.code != exitOK || !strings.Contains(s.out, `"kind": "Version"`) {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("version", "-o", "table"); s.code != exitOK || !strings.HasPrefix(s.out, "loopmesh ") {
			t.Errorf("the command line does not win: %+v", s)
		}
		if s := loopmesh("ls"); s.code != exitUnreachable || !strings.HasPrefix(s.errs, `{"kind":"Error"`) {
			t.Errorf("an error is no document: %+v", s)
		}
	})
	t.Run("a bad one is named", func(t *testing.T) {
		t.Setenv("LOOPMESH_TIMEOUT", "soon")
		if s := loopmesh("ls"); s.code != exitUsage || !strings.Contains(s.errs, `LOOPMESH_TIMEOUT is "soon"`) {
			t.Errorf("%+v", s)
		}
	})
	t.Run("one that nobody reads is warned about", func(t *testing.T) {
		t.Setenv("LOOPMESH_TIMEOUTS", "1s")
		if s := loopmesh("version"); s.code != exitOK || !strings.Contains(s.errs, "LOOPMESH_TIMEOUTS is not known") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("the one of the loops is known", func(t *testing.T) {
		t.Setenv("LOOPMESH_DEBUG", "1")
		if s := loopmesh("version"); s.code != exitOK || s.errs != "" {
			t.Errorf("%+v", s)
		}
	})
	t.Run("each stands in the page and belongs to a flag", func(t *testing.T) {
		page := loopmesh("environment").out
		flags := map[string]bool{}
		walk(newRoot(newProgram(demoOptions), io.Discard, io.Discard), func(cmd *cobra.Command) {
			for _, name := range newProgram(demoOptions).variables() {
				if cmd.Flags().Lookup(name) != nil {
					flags[name] = true
				}
			}
		})
		for _, name := range newProgram(demoOptions).variables() {
			if !flags[name] || !strings.Contains(page, variable(name)) {
				t.Errorf("%s: a flag %v", variable(name), flags[name])
			}
		}
	})
}

func TestPages(t *testing.T) {
	if s := loopmesh("exit-codes"); s.code != exitOK || !strings.Contains(s.out, "130  interrupted") {
		t.Errorf("%+v", s)
	}
	if s := loopmesh(); s.code != exitOK || !strings.Contains(s.out, "func ") || s.errs != "" {
		t.Errorf("%+v", s)
	}
}
