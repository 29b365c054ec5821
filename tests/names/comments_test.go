package names

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mentioned is package.Name in prose; asyncio.subprocess.PIPE is none.
var mentioned = regexp.MustCompile(`(?:^|[^.\w/])([a-z]+)\.([A-Z]\w*)`)

// TestNamesInProse: what a comment or a page calls package.Name, of a public package,
// exists. CHANGELOG.md tells of names that are gone.
func TestNamesInProse(t *testing.T) {
	root := filepath.Join("..", "..")
	have := exported(t, root)
	packages := map[string]bool{}
	for _, dir := range publicFolders(t, root) {
		packages[filepath.Base(dir)] = true
	}
	checked := 0
	for path, text := range prose(t, root) {
		for _, m := range mentioned.FindAllStringSubmatch(text, -1) {
			if !packages[m[1]] {
				continue
			}
			checked++
			if name := m[1] + "." + m[2]; !have[name] {
				t.Errorf("%s speaks of %s, which does not exist", path, name)
			}
		}
	}
	if checked < 200 {
		t.Errorf("only %d names were checked: this test looks at the wrong text", checked)
	}
}

// prose is the text of every page and of the comments of every Go file that is no test.
func prose(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch name := filepath.Join(root, path); {
		case d.Name() == "CHANGELOG.md" || strings.HasSuffix(path, "_test.go"):
		case strings.HasSuffix(path, ".md"):
			text, err := os.ReadFile(name)
			out[path] = string(text)
			return err
		case strings.HasSuffix(path, ".go"):
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, c := range f.Comments {
				out[path] += c.Text() + "\n"
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
