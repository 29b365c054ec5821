package nodecmd

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// The configuration file of start: YAML whose keys are the names of start's flags. The
// order is: command line, variable, file, default. A key that start does not know is
// refused, with its line and the name that is spelled almost like it: a misspelt
// listen would otherwise be a node that nobody reaches.
//
// Why flags' names, and not sections with names of their own? What a person has learnt
// on one of the three ways serves on the others, an error names one thing, and a flag
// that is added can be written into the file at once. Why no library that merges
// sources? There are three of them, pflag knows which flags are set, and the lines of
// the mistakes come from the YAML parser.

// configFlag names the file; it stands in no file itself.
const configFlag = "config"

// maxConfig is the size of a configuration file: a wrong path may name anything.
const maxConfig = 1 << 20

// applyFile sets the flags that neither the command line nor a variable has set. It
// changes nothing when the file holds any mistake, and then names all of them.
// fromFile are the lines of the keys that the file has set.
func applyFile(cmd *cobra.Command, path string) (fromFile map[string]int, err error) {
	if path == "" {
		return nil, nil
	}
	entries, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	fromFile = map[string]int{}
	lines := map[string]int{}
	for _, e := range entries {
		f := cmd.Flags().Lookup(e.key)
		where := fmt.Sprintf("%s:%d", path, e.line)
		switch {
		case f == nil || !configurable(f.Name):
			err = errors.Join(err, fmt.Errorf("%s: there is no key %q%s", where, e.key, nearest(cmd, e.key)))
		case lines[e.key] > 0:
			err = errors.Join(err, fmt.Errorf("%s: %s stands in line %d already", where, e.key, lines[e.key]))
		case f.Changed:
		default:
			if wrong := setFlag(f, e.values); wrong != nil {
				err = errors.Join(err, fmt.Errorf("%s: %s: %w", where, e.key, wrong))
			}
			fromFile[e.key] = e.line
		}
		lines[e.key] = e.line
	}
	if err != nil {
		return nil, fileError{err}
	}
	return fromFile, nil
}

// fileError is a mistake in the file: exit code 8.
type fileError struct{ err error }

func (e fileError) Error() string { return e.err.Error() }
func (e fileError) Unwrap() error { return e.err }

// setFlag gives a flag the values of a key; a list is one value for each element, so
// that a comma in one is a comma.
func setFlag(f *pflag.Flag, values []string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		f.Changed = true
		return list.Replace(values)
	}
	if len(values) != 1 {
		return errors.New("it takes one value, not a list")
	}
	if err := f.Value.Set(values[0]); err != nil {
		return explainFlagError(err)
	}
	f.Changed = true
	return nil
}

// What start refuses is said in the words of cluster.Config (Listen, StoreDir), because a
// program of one's own reads it too, or with the value itself. Either leads to the line.

// fieldNames are the fields of cluster.Config whose flags are not called as they are.
var fieldNames = map[string]string{"nats-url": "URL", "store": "StoreDir", "nkey": "NKey", "tls-ca": "TLS", "password-file": "Password"}

// located puts the line of the file in front of an error about a value that stands there:
// of the key that the error names first.
func located(err error, cmd *cobra.Command, path string, lines map[string]int) error {
	if err == nil {
		return nil
	}
	text, line, first := err.Error(), 0, -1
	for key, at := range lines {
		f := cmd.Flags().Lookup(key)
		field := fieldNames[key]
		if field == "" {
			field = camel(key)
		}
		names := []string{field, "--" + key}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			names = append(names, list.GetSlice()...)
		} else if f.Value.Type() == "string" {
			names = append(names, f.Value.String())
		}
		for _, name := range names {
			if i := wordIn(text, name); i >= 0 && (first < 0 || i < first || i == first && at < line) {
				line, first = at, i
			}
		}
	}
	if line == 0 {
		return err
	}
	return fmt.Errorf("%s:%d: %w", path, line, err)
}

// camel is a flag's name as that of a field: route-listen is RouteListen.
func camel(flag string) (field string) {
	for part := range strings.SplitSeq(flag, "-") {
		field += strings.ToUpper(part[:1]) + part[1:]
	}
	return field
}

// wordIn is where a word stands in a text, -1 when it only is a part of others.
func wordIn(text, word string) int {
	part := func(c byte) bool { return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }
	for from := 0; word != ""; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			break
		}
		i += from
		end := i + len(word)
		if (i == 0 || !part(text[i-1])) && (end == len(text) || !part(text[end]) && text[end] != '-') {
			return i
		}
		from = i + 1
	}
	return -1
}

// entry is one key of the file, with the line that an error names. A value that is one
// word is a list of one.
type entry struct {
	key    string
	line   int
	values []string
}

// readConfig reads the file without a look at what its keys mean. A key that stands
// there twice comes twice: YAML's own reading would keep the last one silently.
func readConfig(path string) ([]entry, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fileError{fmt.Errorf("--config: %w", err)}
	case !info.Mode().IsRegular():
		return nil, fileError{fmt.Errorf("--config: %s is no file", path)}
	case info.Size() > maxConfig:
		return nil, fileError{fmt.Errorf("--config: %s has %d bytes; a configuration has at most %d", path, info.Size(), maxConfig)}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError{fmt.Errorf("--config: %w", err)}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, fileError{fmt.Errorf("%s: %w", path, err)}
	}
	if len(doc.Content) == 0 { // empty, or comments only
		return nil, nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, fileError{fmt.Errorf("%s:%d: a configuration is lines of the form name: value", path, top.Line)}
	}
	var out []entry
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		values, err := scalars(value)
		if err != nil {
			return nil, fileError{fmt.Errorf("%s:%d: %s: %w", path, value.Line, key.Value, err)}
		}
		out = append(out, entry{key.Value, key.Line, values})
	}
	return out, nil
}

// scalars is the value of a key: one word, or a list of words.
func scalars(n *yaml.Node) ([]string, error) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return nil, errors.New("it has no value; leave the line out for the default")
	case n.Kind == yaml.ScalarNode:
		return []string{n.Value}, nil
	case n.Kind == yaml.SequenceNode:
		var out []string
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode || c.Tag == "!!null" {
				return nil, errors.New("it takes a list of words")
			}
			out = append(out, c.Value)
		}
		return out, nil
	}
	return nil, errors.New("it takes a value or a list, nothing below it")
}

// configurable tells whether a flag of start can stand in the file.
func configurable(flag string) bool { return flag != configFlag && flag != "help" && flag != "output" }

// configKeys are the names that can stand in the file.
func configKeys(cmd *cobra.Command) (out []string) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if configurable(f.Name) {
			out = append(out, f.Name)
		}
	})
	return out
}

// nearest is the key that is spelled almost like word, as the end of an error.
func nearest(cmd *cobra.Command, word string) string {
	best := nearestOf(word, configKeys(cmd))
	if best == "" {
		return fmt.Sprintf("; %q lists them", cmd.Root().Name()+" config init")
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// nearestOf is the one of keys that is spelled almost like word, "" when none is.
func nearestOf(word string, keys []string) (best string) {
	word = strings.ToLower(strings.ReplaceAll(word, "_", "-"))
	least := len(word)/2 + 1
	for _, key := range keys {
		if d := distance(word, key); d < least {
			best, least = key, d
		}
	}
	return best
}

// distance is how many letters have to be put in, left out or replaced to make b of a
// (Levenshtein): row[j] is the distance of what was read of a from the first j letters
// of b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			row[j+1] = min(above, row[j]) + 1
			if a[i] == b[j] {
				row[j+1] = min(row[j+1], before)
			} else {
				row[j+1] = min(row[j+1], before+1)
			}
			before = above
		}
	}
	return row[len(b)]
}
