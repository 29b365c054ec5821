package wire

import (
	"bufio"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var record = flag.Bool("record", false, "append frames of kinds that are not recorded yet; a recorded line never changes")

// recorded is a frame as a node of some version has sent it.
type recorded struct {
	kind  string
	bytes []byte
	means string
}

// TestRecordedFramesAreUnderstoodForEver reads testdata/v*.txt: lines "kind hex fields",
// written when a kind was new. A node that is updated meets nodes that are not.
func TestRecordedFramesAreUnderstoodForEver(t *testing.T) {
	current := fmt.Sprintf("testdata/v%d.txt", Version)
	if *record {
		appendMissing(t, current)
	}
	files, err := filepath.Glob("testdata/v*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no recorded frames:", err)
	}
	for _, file := range files {
		for _, r := range readRecorded(t, file) {
			var f Frame
			if err := Decode(r.bytes, &f, nil); err != nil {
				t.Errorf("%s: %s: %v", file, r.kind, err)
				continue
			}
			if got := meaning(&f); got != r.means || Kind(r.bytes[1]).String() != r.kind {
				t.Errorf("%s: %s now means\n%s\nand meant\n%s", file, r.kind, got, r.means)
			}
			if file == current && !reflect.DeepEqual(f.Append(nil), r.bytes) {
				t.Errorf("%s: %s is written in another way: that takes a new version", file, r.kind)
			}
			for n := range r.bytes {
				if err := Decode(r.bytes[:n], &f, nil); err != nil && !errors.Is(err, ErrMalformed) {
					t.Errorf("%s: %s cut at %d: %v", file, r.kind, n, err)
				}
			}
		}
	}
	have := map[string]bool{}
	for _, r := range readRecorded(t, current) {
		have[r.kind] = true
	}
	for _, k := range kinds() {
		if !have[k.String()] {
			t.Errorf("no frame of kind %v is recorded: go test ./internal/wire -record", k)
		}
	}
}

func readRecorded(t *testing.T, file string) (out []recorded) {
	t.Helper()
	in, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		word := strings.SplitN(lines.Text(), " ", 3)
		raw, err := hex.DecodeString(word[1])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, recorded{word[0], raw, word[2]})
	}
	return out
}

func appendMissing(t *testing.T, file string) {
	t.Helper()
	have := map[string]bool{}
	for _, r := range readRecorded(t, file) {
		have[r.kind] = true
	}
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	for _, f := range samples() {
		if kind := written(&f); !have[kind.String()] {
			if _, err := fmt.Fprintf(out, "%v %x %s\n", kind, f.Append(nil), meaning(&f)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// meaning is the fields of a frame that are not zero: a field that is added later does
// not change the text of an old frame.
func meaning(f *Frame) string {
	var out []string
	v := reflect.ValueOf(*f)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			out = append(out, fmt.Sprintf("%s=%#v", v.Type().Field(i).Name, v.Field(i).Interface()))
		}
	}
	return strings.Join(out, " ")
}
