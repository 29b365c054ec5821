package nodecmd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// One file with what somebody needs who has to find out what is wrong and cannot look at
// the cluster: every list, events, metrics, the end of each node's log, its settings and the
// stacks of its goroutines. The file leaves the machine, so what is secret is taken out
// (redact.go), whatever it came from.
//
// A part that could not be had is named in errors.txt and does not end the command: the
// cluster whose report is wanted is one in which something does not answer.

const reportLong = `Writes one archive (tar, gzip) with what is needed to look into a problem from elsewhere: all lists, events, metrics of the node that
is asked, and of each node the end of its log, its settings and the stacks of its goroutines. Passwords, tokens, keys and the
arguments of child processes are taken out. Look at it before you send it: a program may log what only you know to be secret.
Parts that could not be had are named in errors.txt in it, and make the exit code 4.`

// newReport asks one node for everything, one question after another: it should not be
// what a cluster in trouble breaks down under.
func newReport() *cobra.Command {
	var o target
	var path string
	cmd := &cobra.Command{
		Use: "report", Short: "write one file with what is needed to look into a problem from elsewhere", Long: reportLong, Args: noArgs,
		Example: "  loopmesh report\n  loopmesh report --file incident.tar.gz",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if o.timeout <= 0 {
				return usageError{fmt.Errorf("--timeout is %v; it must be positive", o.timeout)}
			}
			now := time.Now().UTC()
			if path == "" {
				path = "loopmesh-report-" + now.Format("20060102-150405") + ".tar.gz"
			}
			client, err := reportClient(cmd.Context(), &o)
			if err != nil {
				return err
			}
			defer client.Close()
			r := &report{client: client, limit: o.timeout, now: now, asked: client.Path()}
			data, err := r.archive(cmd.Context())
			if err != nil {
				return err
			}
			if err := writeNew(path, data); err != nil {
				return err
			}
			if err := sayWrote(cmd, &o.output, "ReportFile", path, len(data)); err != nil {
				return err
			}
			if len(r.missing) > 0 && !o.allowPartial {
				return &partialError{r.missing}
			}
			return nil
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&path, "file", "", "where to write it (default loopmesh-report-TIME.tar.gz)")
	cmd.Flags().BoolVar(&o.allowPartial, "allow-partial", false, "exit with 0 although some parts could not be had")
	return cmd
}

// reportClient finds the node to ask, within the time of one question.
func reportClient(ctx context.Context, o *target) (*admin.Client, error) {
	within, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return o.client(within)
}

// Why everything is held in memory and then written: an archive that breaks off in the middle
// is of no use, and its parts are bounded (lists by what fits into messages, logs by their
// ring). What is written is the archive as a whole or nothing.
// report is one report while it is made.
type report struct {
	client  *admin.Client
	limit   time.Duration // of one question
	now     time.Time
	files   []reportFile
	missing []admin.Missing

	// For its first page.
	asked    string               // where the node is that was asked
	nodes    []admin.Node         // as that one sees them
	silent   []admin.Missing      // of these: who did not tell
	findings *admin.List[finding] // of check; nil: it could not be made
}

// reportFile is a file of the archive.
type reportFile struct {
	name string
	data []byte
}

// archive asks for everything and packs it. An error is one that ended all of it: Ctrl-C.
func (r *report) archive(ctx context.Context) ([]byte, error) {
	var nodes []string
	r.part(ctx, "nodes.json", func(ctx context.Context) (any, error) {
		list, err := r.client.AllNodes(ctx)
		if err == nil {
			r.nodes, r.silent = list.Items, list.Partial
			for _, n := range list.Items {
				if n.State != admin.Dead && n.State != admin.Left {
					nodes = append(nodes, n.ID)
				}
			}
		}
		return list, err
	})
	for _, p := range r.lists() {
		r.part(ctx, p.name, p.ask)
	}
	r.judge(ctx)
	for _, n := range nodes {
		r.ofNode(ctx, n)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r.pack()
}

// reportPart is a question and the file for its answer.
type reportPart struct {
	name string
	ask  func(ctx context.Context) (any, error)
}

// Which questions? All that change nothing. A list that is left out because it seems of no use
// is the one that is asked for in the answer to the report.
// lists are the questions that concern the whole cluster.
func (r *report) lists() []reportPart {
	c := r.client
	return []reportPart{
		{"loops.json", func(ctx context.Context) (any, error) { return c.MeasuredLoops(ctx, defaultMeasure) }},
		{"tasks.json", func(ctx context.Context) (any, error) { return c.Tasks(ctx, wholeStack) }},
		{"conns.json", func(ctx context.Context) (any, error) { return c.Conns(ctx) }},
		{"servers.json", func(ctx context.Context) (any, error) { return c.Servers(ctx) }},
		{"procs.json", func(ctx context.Context) (any, error) { return withoutArguments(c.Children(ctx)) }},
		{"actors.json", func(ctx context.Context) (any, error) { return c.Actors(ctx) }},
		{"funcs.json", func(ctx context.Context) (any, error) { return c.Funcs(ctx) }},
		{"traffic.json", func(ctx context.Context) (any, error) { return c.Traffic(ctx) }},
		{"calls.json", func(ctx context.Context) (any, error) { return c.CallsUnderWay(ctx) }},
		{"events.json", func(ctx context.Context) (any, error) { return c.Events(ctx, admin.EventFilter{}) }},
		{"health.json", func(ctx context.Context) (any, error) { return c.Health(ctx) }},
		{"settings.json", func(ctx context.Context) (any, error) { return c.Settings(ctx) }},
		{"streams.json", func(ctx context.Context) (any, error) { return ifStored(c.Streams(ctx)) }},
		{"names.json", func(ctx context.Context) (any, error) { return ifStored(c.Names(ctx)) }},
		{"timers.json", func(ctx context.Context) (any, error) { return ifStored(c.Timers(ctx, "")) }},
		{"commands.json", func(ctx context.Context) (any, error) { return ifStored(c.Commands(ctx, "")) }},
		{"dead-letters.json", func(ctx context.Context) (any, error) { return ifStored(c.DeadLetters(ctx, "")) }},
		{"metrics.txt", func(ctx context.Context) (any, error) { return c.Metrics(ctx) }},
	}
}

// ifStored leaves out what a cluster without a store does not have.
func ifStored[T any](list *admin.List[T], err error) (any, error) {
	if noStoreAtAll(err) {
		return nil, nil
	}
	return list, err
}

// The working folder stays: it tells which program it is when several are called alike.
// withoutArguments leaves the name of each program: arguments hold passwords more often
// than anything else in the report.
func withoutArguments(list *admin.List[admin.Child], err error) (any, error) {
	if err != nil {
		return nil, err
	}
	for i, p := range list.Items {
		if n := len(p.Args) - 1; n > 0 {
			list.Items[i].Args = []string{p.Args[0], fmt.Sprintf("(%s taken out)", plural(n, "argument"))}
		}
	}
	return list, nil
}

// The log and the stacks of a node are orders, which take the right admin. A report that is
// made on a node without it has everything else, and says what it lacks.
// ofNode asks one node for what only it has.
func (r *report) ofNode(ctx context.Context, node string) {
	r.part(ctx, "nodes/"+node+"/log.txt", func(ctx context.Context) (any, error) {
		list, err := r.client.LogTail(ctx, node, "", 1000)
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		for _, l := range list.Items {
			b.WriteString(l.Text + "\n")
		}
		return []byte(b.String()), nil
	})
	r.part(ctx, "nodes/"+node+"/log-levels.json", func(ctx context.Context) (any, error) { return r.client.LogLevels(ctx, node) })
	r.part(ctx, "nodes/"+node+"/stacks.txt", func(ctx context.Context) (any, error) {
		p, err := r.client.Profile(ctx, node, "stacks", 0)
		if err != nil {
			return nil, err
		}
		return unzipped(p.Data)
	})
}

// The node packs them, and one that lies could pack a gigabyte of nothing.
// mostStacks bounds what a node's stacks are unpacked to.
const mostStacks = 64 << 20

// unzipped is text that was packed with gzip.
func unzipped(data []byte) ([]byte, error) {
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(zip, mostStacks))
}

// Each question has a time of its own: with one for all of them, the first silent node would
// take it from the rest. A question that fails leaves an entry in errors.txt; after Ctrl-C
// nothing more is asked.
// part puts one question, within its own time, and keeps the answer without its secrets.
func (r *report) part(ctx context.Context, name string, question func(ctx context.Context) (any, error)) {
	if ctx.Err() != nil {
		return
	}
	within, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	answer, err := question(within)
	if err != nil {
		why := admin.Error{Message: err.Error()}
		var e *admin.Error
		if errors.As(err, &e) {
			why = *e
		}
		r.missing = append(r.missing, admin.Missing{ID: name, Error: why})
		return
	}
	text, isText := answer.([]byte)
	switch {
	case answer == nil:
		return
	case !isText:
		var b bytes.Buffer
		if err := documentTo(&b, formatJSON, answer); err != nil {
			r.missing = append(r.missing, admin.Missing{ID: name, Error: admin.Error{Message: err.Error()}})
			return
		}
		text = b.Bytes()
	}
	r.files = append(r.files, reportFile{name, []byte(redact(string(text)))})
}

// errorsText names what could not be had.
func (r *report) errorsText() []byte {
	var b strings.Builder
	for _, m := range r.missing {
		fmt.Fprintf(&b, "%s: %s\n", m.ID, m.Error.Message)
	}
	return []byte(redact(b.String()))
}

// Files have the mode of a secret although secrets were taken out: what is left is still what
// a stranger should not read on a shared machine.
// pack makes the archive. Everything in it has the time of the report.
func (r *report) pack() ([]byte, error) {
	files := append([]reportFile{{"README.txt", r.readme()}}, r.files...)
	if len(r.missing) > 0 {
		files = append(files, reportFile{"errors.txt", r.errorsText()})
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for _, f := range files {
		h := &tar.Header{Name: "loopmesh-report/" + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: r.now, Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := archive.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := errors.Join(archive.Close(), zip.Close())
	return out.Bytes(), err
}
