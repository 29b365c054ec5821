package transportactors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestPipeWriteLimit(t *testing.T) {
	t.Run("a reader that takes nothing from a pipe costs a bounded queue", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			r, w, err := os.Pipe()
			must(t, err)
			defer r.Close()
			tr, p, err := ConnectWritePipe(ctx, func() *probe { return newProbe(ctx) }, w)
			must(t, err)
			most := 0
			for err == nil && most < 64<<20 {
				err = tr.Write(make([]byte, 256<<10))
				most = max(most, tr.WriteBufferSize())
			}
			if reason := p.wait(ctx); !errors.Is(err, ErrWriteLimit) || !errors.Is(reason, ErrWriteLimit) || most > writeHeadroom+1<<20 {
				return fmt.Errorf("up to %d bytes waited, %w, the reason is %w", most, err, reason)
			}
			return nil
		})
	})
}

func TestTableOfLimits(t *testing.T) {
	t.Run("every test that the package's documentation names exists", func(t *testing.T) {
		doc, err := os.ReadFile("doc.go")
		must(t, err)
		var tests strings.Builder
		for _, dir := range []string{".", "framing"} {
			files, err := os.ReadDir(dir)
			must(t, err)
			for _, f := range files {
				if strings.HasSuffix(f.Name(), "_test.go") {
					text, err := os.ReadFile(dir + "/" + f.Name())
					must(t, err)
					tests.Write(text)
				}
			}
		}
		names := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAllString(string(doc), -1)
		if len(names) < 15 {
			t.Fatalf("only %d tests are named", len(names))
		}
		for _, name := range names {
			if !strings.Contains(tests.String(), "func "+name+"(") {
				t.Errorf("there is no %s", name)
			}
		}
	})
}
