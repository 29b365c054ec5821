package prove

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const pagePath = "../../docs/promises.md"

var (
	makeTarget = regexp.MustCompile("`make ([a-z-]+)")
	flagOrPath = regexp.MustCompile("`go test (\\./[a-z/]+)( -[a-z]+ [0-9]+)?`")
	testName   = regexp.MustCompile("`((?:Test|Benchmark)[A-Za-z]+)`")
	figures    = regexp.MustCompile(`^\| .+ \| \d+ \| \d+ \| ok \| .+ \| \d+ \|$`)
)

// printed are the promises whose rows the command prints.
func printed() []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.promise)
	}
	return append(names, enoughRow, diskRow)
}

// section is what stands under a heading of the page.
func section(text, heading string) string {
	_, rest, _ := strings.Cut(text, "\n## "+heading+"\n")
	part, _, _ := strings.Cut(rest, "\n## ")
	return part
}

// tableRows are the rows of the tables in a text, without their heads.
func tableRows(text string) (list []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| promise ") {
			list = append(list, line)
		}
	}
	return list
}

func first(row string) string { return strings.TrimSpace(strings.Split(row, "|")[1]) }

// oddities says what a page claims that is not so. made are the targets of the Makefile, tests
// the names of all tests.
func oddities(page string, made, tests []string) (odd []string) {
	under := tableRows(section(page, "Under faults"))
	var have []string
	for _, row := range under {
		have = append(have, first(row))
		if !figures.MatchString(row) {
			odd = append(odd, "no figures of a run that was ok: "+row)
		}
	}
	if want := printed(); !slices.Equal(have, want) {
		odd = append(odd, "the table has the rows\n\t"+strings.Join(have, "\n\t")+"\nand the command prints\n\t"+strings.Join(want, "\n\t"))
	}
	for _, r := range rows {
		if !strings.Contains(page, "\n- **"+r.promise+"**: ") {
			odd = append(odd, "nothing says what it means: "+r.promise)
		}
	}
	other := tableRows(section(page, "By other commands"))
	if len(other) < 5 {
		odd = append(odd, "the table of other commands is gone")
	}
	for _, row := range other {
		if !makeTarget.MatchString(row) && !flagOrPath.MatchString(row) || !testName.MatchString(row) {
			odd = append(odd, "no command, or no test: "+row)
		}
		for _, m := range flagOrPath.FindAllStringSubmatch(row, -1) {
			if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
				odd = append(odd, err.Error())
			}
		}
	}
	for _, m := range makeTarget.FindAllStringSubmatch(page, -1) {
		if !slices.Contains(made, m[1]) {
			odd = append(odd, "the Makefile has no target "+m[1])
		}
	}
	for _, m := range testName.FindAllStringSubmatch(page, -1) {
		if !slices.Contains(tests, m[1]) {
			odd = append(odd, "there is no test "+m[1])
		}
	}
	if len(section(page, "Not promised")) < 500 {
		odd = append(odd, "it does not say what is not promised")
	}
	return odd
}

// targets are those of the Makefile.
func targets(t *testing.T) (list []string) {
	t.Helper()
	raw, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(raw), -1) {
		list = append(list, m[1])
	}
	return list
}

// testNames are all tests and benchmarks of the module.
func testNames(t *testing.T) (list []string) {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark)[A-Za-z]+)\(`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(raw, -1) {
			list = append(list, string(m[1]))
		}
		return err
	})
	if err != nil || len(list) < 500 {
		t.Fatal(len(list), err)
	}
	return list
}

// TestThePageOfPromises: docs/promises.md shows what the command prints, names commands and
// tests that exist, and is reached from the README.
func TestThePageOfPromises(t *testing.T) {
	raw, err := os.ReadFile(pagePath)
	if err != nil {
		t.Fatal(err)
	}
	page, made, tests := string(raw), targets(t), testNames(t)
	for _, odd := range oddities(page, made, tests) {
		t.Error(odd)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil || !strings.Contains(string(readme), "(docs/promises.md)") {
		t.Error("the README does not lead there", err)
	}
	for planted, change := range map[string][2]string{
		"a row less":         {"| " + rows[1].promise, "A row was here: | " + rows[1].promise},
		"another name":       {"| " + rows[2].promise, "| somebody is told"},
		"a run that was red": {" | ok | ", " | BROKEN | "},
		"no meaning":         {"- **" + rows[0].promise, "- **a call"},
		"no such target":     {"`make prove-casts`", "`make prove-it`"},
		"no such test":       {"`TestBooks`", "`TestLooks`"},
		"no such folder":     {"`go test ./tests/badinput`", "`go test ./tests/goodinput`"},
		"no command":         {"`make stress-proc`", "by hand"},
		"nothing is open":    {"## Not promised", "## Everything is promised"},
	} {
		changed := strings.Replace(page, change[0], change[1], 1)
		if changed == page || len(oddities(changed, made, tests)) == 0 {
			t.Errorf("%s: not noticed", planted)
		}
	}
}
