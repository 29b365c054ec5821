package nodecmd

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The tree of commands and the rules that hold for all of them: what cobra does with
// a wrong word, a wrong flag or no command at all. Every command has RunE and Args,
// so that each mistake becomes a usageError and with it exit code 2 (TestEveryCommand
// walks the tree).

// rootLong is the first page that a new user reads: what to type first.
const rootLong = `Runs nodes, whose event loops schedule on each other across machines, and shows what
they do.

  try it          loopmesh dev
  start nodes     loopmesh start --name n1 --listen 127.0.0.1:4222
                  loopmesh start --name n2 --join 127.0.0.1:4222
  see it          loopmesh top, or loopmesh dashboard, which prints a link for a browser
  what runs       loopmesh ls, tree, status, ps, conn ls, actor ls, func ls
  why is it slow  loopmesh loop ls --sort -measured.busy, then task show ID
  what happened   loopmesh events --since 8h, explain CODE
  stop this       loopmesh task cancel ID, conn close ID, server close ID
  what is stored  loopmesh name ls, placement ls, timer ls, command ls, command dead
  run a command   loopmesh proc run --on n2 PROFILE
  do something    loopmesh %s

The commands ask a node of yours on this machine, through its admin socket; any node
shows the whole cluster. Data goes to stdout, everything else to stderr.`

// newRoot builds the tree anew for each run, so that a test, which calls run many
// times in one process, never sees a flag of an earlier run. Three defaults of cobra
// are changed, because they would hide a mistake: an unknown word below a command is
// an error and not a help page with exit code 0; errors are printed once, by
// printError; and no usage text follows an error, since it would scroll the error out
// of sight.
func newRoot(p *program, out, errs io.Writer) *cobra.Command {
	root := group(defaultName, "run nodes whose event loops schedule on each other, and see what they do",
		newStart(p), newDev(p), newDashboard(), newTop(), newWait(), newCheck(), newDoctor(p), newLs(), newStatus(), newTree(), newPs(), newInspect(), newLoop(), newTask(), newConn(), newListener(), newProc(), newActor(), newFunc(),
		newName(), newPlacement(), newTimer(), newCommand(), newDrain(), newResume(), newReload(), newBench(), newTrace(), newNATS(), newEvents(), newLogs(), newPprof(), newReport(),
		newExplain(), newSchema(), newContext(), newConfig(p), newKeys(), newVersion(), newCompletion(), newMan(p),
		newTopics(p), topic("exit-codes", "explain the exit codes", exitCodes), topic("environment", "list the environment variables that set flags", p.environment()),
	)
	root.Long = fmt.Sprintf(rootLong, p.example)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true // it takes any word for a shell; ours does not
	root.SetHelpCommand(newHelp(root))
	root.SetOut(out)
	root.SetErr(errs)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{likeFlag(cmd, explainFlagError(err))} })
	root.Version, _ = admin.Version()
	root.SetVersionTemplate(p.name + " {{.Version}}\n")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return p.applyEnvironment(cmd, errs) }
	callBy(root, p.name)
	return root
}

// explainFlagError replaces the message of a parser of the library (strconv.ParseInt:
// parsing …, time: missing unit …) by one that tells a user what to write. The parser of
// durations has no type for its errors; all of them begin with its package's name.
func explainFlagError(err error) error {
	var bad *strconv.NumError
	if !errors.As(err, &bad) {
		if before, _, found := strings.Cut(err.Error(), "time: "); found {
			return errors.New(before + "it takes a duration such as 500ms, 90s or 8h")
		}
		return err
	}
	why := "it takes a whole number"
	switch {
	case errors.Is(bad, strconv.ErrRange):
		why = "the number is too large"
	case bad.Func == "ParseBool":
		why = "it takes true or false"
	}
	return errors.New(strings.Replace(err.Error(), bad.Error(), why, 1))
}

// likeFlag adds to an error about an unknown flag the one that is spelled almost like it.
func likeFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if best := nearestOf(unknown.GetSpecifiedName(), names); best != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, best)
	}
	return err
}

// group is a command that only holds other commands. It must refuse a word that it
// does not know: cobra alone prints the help and exits with 0, and a script that
// misspells a command would go on as if it had worked.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, SuggestionsMinimumDistance: 2,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// unknownCommand names commands that are spelled almost like word: a typing error is
// the usual cause.
func unknownCommand(cmd *cobra.Command, word string) error {
	text := fmt.Sprintf("there is no command %q in %q", word, cmd.CommandPath())
	if like := cmd.SuggestionsFor(word); len(like) > 0 {
		text += fmt.Sprintf("; did you mean %s?", strings.Join(like, " or "))
	}
	return usageError{fmt.Errorf("%s", text)}
}

// topic is a page of help that is not about a command. It is a command all the same,
// so that "help NAME", completion and the list of commands find it.
func topic(name, short, text string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Long: text, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
}

// newHelp is cobra's help, except that an unknown topic is an error: cobra prints the
// general help and exits with 0.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND|TOPIC]...", Short: "help about a command; 'help topics' lists other pages",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if page, more, wrong := root.Find(append([]string{topicsGroup}, args...)); (err != nil || len(rest) > 0) && wrong == nil && len(more) == 0 {
				cmd, rest, err = page, more, nil
			}
			if err != nil || len(rest) > 0 {
				return usageError{fmt.Errorf("there is no help about %q", strings.Join(args, " "))}
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// noArgs is the Args of commands without arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0])}
	}
	return nil
}

// exactArgs takes as many arguments as Use has words in capitals, and names them when
// they are missing: "conn write CONN TEXT" needs CONN and TEXT.
func exactArgs(cmd *cobra.Command, args []string) error {
	want := slices.DeleteFunc(strings.Fields(cmd.Use), func(w string) bool { return w != strings.ToUpper(w) })
	if len(args) != len(want) {
		return usageError{fmt.Errorf("%s needs %s, got %s", cmd.CommandPath(), strings.Join(want, " and "), gotten(args))}
	}
	return nil
}

// gotten quotes the arguments that came, since a shell may have split or eaten some.
func gotten(args []string) string {
	if len(args) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%q", args)
}

// newVersion prints what a report of a fault has to begin with. It asks no node:
// "status" shows the version that a node runs.
func newVersion() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "version", Short: "print version and Go version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version, goVersion := admin.Version()
			if o.forPrograms() {
				return o.document(cmd, map[string]string{"kind": "Version", "apiVersion": admin.APIVersion, "version": version, "go": goVersion})
			}
			if err := o.check(); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s\n", cmd.Root().Name(), version, goVersion)
			return err
		},
	}
	o.flag(cmd)
	return cmd
}

// newCompletion prints a script for a shell. The script calls this program for words
// at each tab, so it needs no renewal when commands are added.
func newCompletion() *cobra.Command {
	shells := map[string]func(*cobra.Command, io.Writer) error{
		"bash":       func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":        func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
		"fish":       func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
		"powershell": func(root *cobra.Command, w io.Writer) error { return root.GenPowerShellCompletionWithDesc(w) },
	}
	return &cobra.Command{
		Use: "completion SHELL", Short: "print the completion script of bash, zsh, fish or powershell", Args: exactArgs,
		Example:   "  source <(loopmesh completion bash)",
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			script, ok := shells[args[0]]
			if !ok {
				return usageError{fmt.Errorf("no completion for %q; there is bash, zsh, fish and powershell", args[0])}
			}
			return script(cmd.Root(), cmd.OutOrStdout())
		},
	}
}

// callBy puts the program's own name into every text of the tree: the texts are written
// for "loopmesh", and what they show is there to be typed.
func callBy(cmd *cobra.Command, name string) {
	if name == defaultName {
		return
	}
	if cmd.Use == defaultName {
		cmd.Use = name
	}
	for _, text := range []*string{&cmd.Short, &cmd.Long, &cmd.Example} {
		*text = named(*text, name)
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { f.Usage = named(f.Usage, name) })
	for _, c := range cmd.Commands() {
		callBy(c, name)
	}
}

// Texts are written once, for the program that this module builds; a second set of them
// for other names would differ sooner or later. Only the name with a space behind it is
// replaced, so names of files and variables stay.
//
// named replaces the name of this module's own program where a text shows a command
// line.
func named(text, name string) string {
	return strings.ReplaceAll(text, defaultName+" ", name+" ")
}

// calledAs is what a user types to call this program, given how it was started: hints
// are there to be copied into a shell. "go run" builds the program in a folder of its
// own that is gone afterwards, so its path would be of no use; the folder of its source
// in its module is what was typed.
func calledAs(arg0, name string) string {
	if dir := filepath.Dir(arg0); filepath.Base(dir) == "exe" && strings.Contains(dir, "go-build") {
		if info, ok := debug.ReadBuildInfo(); ok {
			return "go run ./" + strings.TrimPrefix(strings.TrimPrefix(info.Path, info.Main.Path), "/")
		}
	}
	return name
}
