// Report prints which of asyncio's behaviours are proven here, area by area.
//
//	go test -json ./... | go run ./tests/conformance/report
//	go run ./tests/conformance/report -from run.json -o json
//
// It fails when a behaviour failed, when a test claims one that does not exist
// or does not apply or asserts nothing, and when one that must pass did not.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/loopmesh/loopmesh/tests/conformance/ledger"
)

// Exit codes, as those of the loopmesh program.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

type options struct {
	from, format, root string
	require            bool
}

func run(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		return exitUsage
	}
	account, err := o.account(stdin)
	if err == nil {
		err = o.print(stdout, account)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "report:", err)
		return exitFailed
	}
	if len(account.Problems) > 0 {
		return exitFailed
	}
	return exitOK
}

var errFormat = errors.New("-o must be table or json")

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("report", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.from, "from", "-", "file with the output of go test -json; - is the standard input")
	fs.StringVar(&o.format, "o", "table", "table or json")
	fs.StringVar(&o.root, "root", "", "folder of go.mod (default: found above the working folder)")
	fs.BoolVar(&o.require, "require", false, "add what passed to required.txt")
	asJSON := fs.Bool("json", false, "the same as -o json")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if *asJSON {
		o.format = "json"
	}
	if o.format != "table" && o.format != "json" {
		_, _ = fmt.Fprintf(stderr, "report: %v, not %q\n", errFormat, o.format)
		return nil, errFormat
	}
	return o, nil
}

// account reads everything and, with -require, writes the list.
func (o *options) account(stdin *os.File) (*ledger.Account, error) {
	root, err := o.findRoot()
	if err != nil {
		return nil, err
	}
	tree := os.DirFS(root)
	catalogue, err := ledger.ReadCatalogue(tree)
	if err != nil {
		return nil, err
	}
	claims, err := ledger.Scan(tree)
	if err != nil {
		return nil, err
	}
	results, err := o.results(stdin)
	if err != nil {
		return nil, err
	}
	account := ledger.Balance(catalogue, claims, results)
	if o.require && account.Ran {
		list := []byte(account.Require(catalogue))
		return account, os.WriteFile(filepath.Join(root, filepath.FromSlash(ledger.RequiredFile)), list, 0o644)
	}
	return account, nil
}

// results are nil when there is nothing to read: a terminal or /dev/null.
func (o *options) results(stdin *os.File) (*ledger.Results, error) {
	in := stdin
	if o.from != "-" {
		f, err := os.Open(o.from)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // read only: nothing can be lost
		in = f
	}
	if info, err := in.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return nil, nil
	}
	return ledger.ReadResults(in)
}

func (o *options) findRoot() (string, error) {
	if o.root != "" {
		return o.root, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod here or above: run inside the module or say -root")
		}
		dir = up
	}
}

func (o *options) print(w io.Writer, a *ledger.Account) error {
	if o.format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(a)
	}
	return table(w, a)
}
