package ledger

import (
	"bufio"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// Where the books are, from the module's root.
const (
	Dir             = "tests/conformance"
	idsFile         = "ids.txt"
	differencesFile = "differences.md"
	requiredFile    = "required.txt"
)

// RequiredFile is the path of the list that Require rewrites.
var RequiredFile = path.Join(Dir, requiredFile)

// Behaviour is one row of the catalogue.
type Behaviour struct {
	ID   string // as in SCH-05
	Area string
	Text string
}

// Difference is a behaviour that is not asyncio's, and why.
type Difference struct {
	NotApplicable bool // it cannot be expressed in Go: no test may claim it
	Reason        string
}

// Catalogue is everything that was written down by hand.
type Catalogue struct {
	Behaviours  []Behaviour // in the order of the file
	Differences map[string]Difference
	Required    []string // must be passed
}

// ReadCatalogue reads the three files below Dir. It fails on a line it cannot
// understand, on a repeated ID and on an ID that the catalogue does not have.
func ReadCatalogue(fsys fs.FS) (*Catalogue, error) {
	c := &Catalogue{Differences: map[string]Difference{}}
	for _, part := range []struct {
		name string
		each func(line string) error
	}{
		{idsFile, c.addBehaviour},
		{differencesFile, c.addDifference},
		{requiredFile, c.addRequired},
	} {
		if err := eachLine(fsys, path.Join(Dir, part.name), part.each); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func eachLine(fsys fs.FS, name string, each func(string) error) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		if err := each(sc.Text()); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	return sc.Err()
}

var wholeID = regexp.MustCompile(`^[A-Z]{2,4}-\d{2}$`)

func (c *Catalogue) addBehaviour(line string) error {
	cells := strings.Split(line, "\t")
	if len(cells) != 3 || !wholeID.MatchString(cells[0]) || cells[1] == "" || cells[2] == "" {
		return fmt.Errorf("want ID, area and text with tabs between, got %q", line)
	}
	if c.Has(cells[0]) {
		return fmt.Errorf("%s is there twice", cells[0])
	}
	c.Behaviours = append(c.Behaviours, Behaviour{cells[0], cells[1], cells[2]})
	return nil
}

// shortestReason keeps out "does not apply" and other sentences that convince
// nobody.
const shortestReason = 30

var difference = regexp.MustCompile(`^- (\S+) \((n/a|differs)\): (.+)$`)

func (c *Catalogue) addDifference(line string) error {
	if !strings.HasPrefix(line, "- ") {
		return nil // prose
	}
	m := difference.FindStringSubmatch(line)
	switch {
	case m == nil:
		return fmt.Errorf("want \"- ID (n/a|differs): reason\", got %q", line)
	case !c.Has(m[1]):
		return fmt.Errorf("%s is not in the catalogue", m[1])
	case c.Differences[m[1]].Reason != "":
		return fmt.Errorf("%s is there twice", m[1])
	case len(m[3]) < shortestReason:
		return fmt.Errorf("%s: the reason is too short to convince: %q", m[1], m[3])
	}
	c.Differences[m[1]] = Difference{NotApplicable: m[2] == "n/a", Reason: m[3]}
	return nil
}

func (c *Catalogue) addRequired(line string) error {
	id := strings.TrimSpace(line)
	switch {
	case id == "" || strings.HasPrefix(id, "#"):
		return nil
	case !c.Has(id):
		return fmt.Errorf("%s is not in the catalogue", id)
	case c.Differences[id].NotApplicable:
		return fmt.Errorf("%s is required and not applicable", id)
	}
	c.Required = append(c.Required, id)
	return nil
}

// Has reports whether the catalogue knows id.
func (c *Catalogue) Has(id string) bool {
	for _, b := range c.Behaviours {
		if b.ID == id {
			return true
		}
	}
	return false
}

// hasArea reports whether some behaviour's ID begins like id.
func (c *Catalogue) hasArea(id string) bool {
	area, _, _ := strings.Cut(id, "-")
	for _, b := range c.Behaviours {
		if strings.HasPrefix(b.ID, area+"-") {
			return true
		}
	}
	return false
}
