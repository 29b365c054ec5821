package nodecmd

import (
	_ "embed" // topics.txt
	"strings"

	"github.com/spf13/cobra"
)

// Pages of help that are about no command: what holds for all of them. They are commands below
// "topics", so that completion, the manual pages and the test that walks the tree find them;
// "help NAME" finds them, too.
//
// Why are the exit codes and the variables made here and the others read from a file? Those
// two are tables that belong beside the code which they describe; the others are prose, and
// prose is easier to keep right where it can be read as such. TestBenchNATSAndTopics holds
// that each page is listed and printed.

// topicsGroup is the command that has them.
const topicsGroup = "topics"

// topicTexts are the pages: a line "== NAME" and what follows it.
//
//go:embed topics.txt
var topicTexts string

// topicText is one page. A name that the file does not have is an empty page, which the test
// finds; nothing is checked here.
func topicText(name string) string {
	_, text, _ := strings.Cut(topicTexts, "== "+name+"\n")
	text, _, _ = strings.Cut(text, "\n== ")
	return strings.TrimSpace(text)
}

// newTopics groups the pages. exit-codes and environment are commands of their own as well,
// for those who know them so.
func newTopics(p *program) *cobra.Command {
	page := func(name, short string) *cobra.Command { return topic(name, short, topicText(name)) }
	cmd := group(topicsGroup, "list the pages of help that are about no command",
		topic("exit-codes", "the exit codes of all commands", exitCodes),
		topic("environment", "the environment variables that set flags", p.environment()),
		page("output", "forms of output, and what stays the same in them"),
		page("filter", "choose, sort and repeat what a list shows"),
		page("targets", "which node a command asks"),
		page("ids", "how things are named, and which command takes which name"),
		page("security", "who may do what, and what is never printed"),
	)
	cmd.Long = "Pages of help that are about no command: 'loopmesh help NAME' prints one."
	return cmd
}
