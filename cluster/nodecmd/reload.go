package nodecmd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// A node that runs reads its configuration again: the file of --config, and the files that
// its keys name. The command line and the variables are those of its start, since they cannot
// change, and win as they did then.
//
// It has two halves. The first reads everything as start does, with its errors and their
// lines, and changes nothing. The second applies what can change while the node runs, and
// names the rest. Why no restart of parts? A listener that moves, a name or a cluster that
// changes, other voters: each of them is another node for everybody who knows this one, and a
// start says so.
//
// What has changed is compared with what the node runs with, not with the file of last time:
// a key that needs a restart is named again at each reload, until there was one. And a level
// that somebody has set with 'log set' stays, unless the key of the level has changed.

// reloader is what start needs for it. Any goroutine.
type reloader struct {
	cmd     *cobra.Command // as it was started
	program *program
	o       *startOptions
	node    *runningNode // set before the first reload

	drain atomic.Int64 // how long the end of the node may take, in nanoseconds

	mu   sync.Mutex
	runs map[string]keyState // by key: what the node runs with
}

// keyState is a key as the node has it. seal differs whenever the value does, or the content of a
// file that the value names; it is one-way, since some of them are secret.
type keyState struct {
	admin.Setting
	seal string
}

// Reloading reads again what a program has beside its flags: certificates of its listeners,
// lists of its own. It changes nothing itself; apply, nil for none, is called when the whole
// configuration is taken, and cannot fail. changes are what is told.
type Reloading func(ctx context.Context, node *cluster.Node) (changes []admin.Change, apply func(), err error)

// WithReload has fn called when a node of the program reads its configuration again ('reload',
// SIGHUP of start). It is called on a goroutine that may wait, one call at a time, when
// everything else of the configuration was read without an error.
func WithReload(fn Reloading) Option {
	return func(p *program) { p.reload = append(p.reload, fn) }
}

// fileKeys are the keys whose values name files that are read at the start: another content
// is another configuration.
var fileKeys = []string{"admin-token-file", "password-file", "nkey", "credentials", "tls-ca", "tls-cert", "tls-key", "profile"}

// newReloader notes what the node is started with.
func newReloader(cmd *cobra.Command, p *program, o *startOptions, set []admin.Setting) *reloader {
	r := &reloader{cmd: cmd, program: p, o: o, runs: heldOf(cmd, set)}
	r.drain.Store(int64(o.drain))
	return r
}

// Why a seal and not the value itself? Of a file that is named, what was read is a token or a
// private key; a copy that is kept only to compare it would be one more place to leak from.
//
// heldOf are the keys of a command line with their seals.
func heldOf(cmd *cobra.Command, set []admin.Setting) map[string]keyState {
	out := map[string]keyState{}
	for _, s := range set {
		out[s.Key] = keyState{s, sealOf(cmd.Flags().Lookup(s.Key))}
	}
	return out
}

// sealOf is the seal of a flag's value, with the files that it names. A file that cannot be
// read now was refused, or will be, by whoever reads it.
func sealOf(f *pflag.Flag) string {
	values := []string{f.Value.String()}
	if list, ok := f.Value.(pflag.SliceValue); ok {
		values = list.GetSlice()
	}
	sum := sha256.New()
	for _, v := range values {
		fmt.Fprintf(sum, "%d %s\n", len(v), v)
		for _, key := range fileKeys {
			if raw, err := readAtMost(v); key == f.Name && v != "" && err == nil {
				fmt.Fprintf(sum, "%x\n", sha256.Sum256(raw))
			}
		}
	}
	return string(sum.Sum(nil))
}

// A path may name anything by now, a device or a pipe that never ends among them; start has
// refused those, but nothing keeps somebody from putting one in a file's place later.
//
// readAtMost is the beginning of a file: of one that is longer than any that start takes, no
// more is wanted.
func readAtMost(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxConfig+1))
}

// Everything that can be refused is in here before anything is applied: that is what makes
// "nothing has changed" true, and the reason why reading and applying are two steps.
//
// reread is what start would run with now.
type reread struct {
	o        *startOptions
	settings []admin.Setting
	held     map[string]keyState
	profiles []process.Profile
	token    string
	level    hclog.Level
	modules  map[string]hclog.Level
}

// read reads all that start reads, and refuses what it refuses.
func (r *reloader) read() (*reread, error) {
	o := newStartOptions(r.program)
	cmd := &cobra.Command{Use: "start"}
	o.flags(cmd, r.program)
	cmd.SetErr(io.Discard) // what is wrong is returned
	if err := r.given(cmd); err != nil {
		return nil, err
	}
	lines, err := applyFile(cmd, o.file)
	if err != nil {
		return nil, err
	}
	out := &reread{o: o, settings: settings(cmd, r.program.byVariable, lines, o.file)}
	out.held = heldOf(cmd, out.settings) // before the files are read: one that changes meanwhile is found the next time
	if err := o.check(cmd); err != nil {
		return nil, located(err, cmd, o.file, lines)
	}
	if out.profiles, err = readProfiles(o.profiles); err != nil {
		return nil, err
	}
	out.token, err = readToken(o.adminToken)
	if at := r.o.adminListen; err == nil && at != "" { // where it listens, and goes on to
		err = admin.CheckTCP(at, out.token)
	}
	if err != nil {
		return nil, located(err, cmd, o.file, lines)
	}
	if out.level, out.modules, err = o.levels(); err != nil {
		return nil, located(err, cmd, o.file, lines)
	}
	return out, nil
}

// A flag of the command line wins over the file at the start, so it has to win now, too, and
// a file that says something else about it changes nothing. Which flags the file had set is
// known from their origin: pflag only knows that they were set.
//
// given sets the flags that the command line and the variables have set at the start.
func (r *reloader) given(cmd *cobra.Command) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd.Flags().VisitAll(func(f *pflag.Flag) {
		byFile := configurable(f.Name) && r.runs[f.Name].Origin == r.o.file && r.o.file != ""
		to := cmd.Flags().Lookup(f.Name)
		if to == nil || !f.Changed || byFile {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		err = errors.Join(err, setFlag(to, values))
	})
	return err
}

// One reload at a time: two of them would each compare with what the other is about to change.
// The parts of the program come behind everything that is read here, so that they are asked
// only about a configuration that is otherwise in order, and before anything is applied.
//
// again reads the configuration again and applies what can change. It is the function of
// admin.Server.OnReload.
func (r *reloader) again(ctx context.Context) ([]admin.Change, error) {
	now, err := r.read()
	if err != nil {
		return nil, notTaken(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var more []admin.Change
	var applies []func()
	for _, fn := range r.program.reload {
		changes, apply, err := fn(ctx, r.node.node)
		if err != nil {
			return nil, notTaken(err)
		}
		more = append(more, changes...)
		if apply != nil {
			applies = append(applies, apply)
		}
	}
	changes := r.compareLocked(now)
	if err := r.applyLocked(now, changes); err != nil {
		return nil, notTaken(err)
	}
	for _, apply := range applies {
		apply()
	}
	return append(changes, more...), nil
}

// One kind and one code for all mistakes, whatever their own are at a start: the command line of
// whoever reloads is right, and what is wrong stands in the files.
//
// notTaken is the error of a reload: nothing has changed.
func notTaken(err error) error {
	return &admin.Error{
		Kind: admin.BadRequest, Code: admin.CodeConfig, Message: "the configuration is not taken: " + err.Error(),
		Hint: "nothing has changed; mend it, and try it with 'loopmesh config check'",
	}
}

// A key whose seal has stayed may have moved, from the command line's default into the file:
// its origin is told as it is now.
//
// compareLocked finds the keys that are other ones than those that the node runs with.
func (r *reloader) compareLocked(now *reread) (changes []admin.Change) {
	for _, s := range now.settings {
		was := r.runs[s.Key]
		if was.seal == now.held[s.Key].seal {
			r.runs[s.Key] = now.held[s.Key] // it may stand elsewhere now
			continue
		}
		c := admin.Change{Key: s.Key, Was: was.Value, Value: s.Value}
		if was.Value == s.Value {
			c.Note = "the file has changed"
		}
		c.Applied = r.changeable(s.Key, now, was.Value == s.Value)
		if c.Applied && strings.HasPrefix(s.Key, "tls-") || s.Key == "credentials" && c.Applied {
			c.Note = strings.TrimPrefix(c.Note+"; used from the next connection on", "; ")
		}
		changes = append(changes, c)
	}
	return changes
}

// Why so few keys? Each of them is read when it is used, or has one place where it can be
// exchanged whole. A key that is spread over what was made at the start (limits of loops, the
// addresses of servers) would be half old and half new, which nobody could reason about.
//
// changeable tells whether a key can change while the node runs. A certificate can when there
// was one at the start, and is one; the file of credentials is read at each connection, but
// another file is not.
func (r *reloader) changeable(key string, now *reread, sameValue bool) bool {
	switch key {
	case "log-level", "log-module", "drain", "profile", "admin-token-file":
		return true
	case "tls-cert", "tls-key":
		return r.o.login.pair != nil && now.o.login.pair != nil
	case "credentials":
		return sameValue
	}
	return false
}

// The profiles come first: they alone can still be refused, by a node that ends. What stands
// behind them cannot.
//
// applyLocked applies what can change.
func (r *reloader) applyLocked(now *reread, changes []admin.Change) error {
	applied := map[string]bool{}
	for _, c := range changes {
		applied[c.Key] = c.Applied
	}
	if applied["profile"] {
		if err := process.Replace(r.node.node, now.profiles...); err != nil {
			return err
		}
	}
	if applied["log-level"] || applied["log-module"] {
		if err := r.applyLevels(now, applied["log-level"]); err != nil {
			return err
		}
	}
	if applied["admin-token-file"] {
		if err := r.node.admin.SetToken(now.token); err != nil {
			return err
		}
	}
	if applied["tls-cert"] || applied["tls-key"] {
		r.o.login.pair.Store(now.o.login.pair.Load())
	}
	r.drain.Store(int64(now.o.drain))
	var set []admin.Setting
	for _, s := range now.settings {
		if applied[s.Key] {
			r.runs[s.Key] = now.held[s.Key]
		}
		set = append(set, r.runs[s.Key].Setting)
	}
	r.node.admin.Keep(r.o.log, set)
	return nil
}

// A level that 'log set' has given to a module which the configuration never named stays: it is
// somebody's look at something that goes on, and ends with the node.
//
// applyLevels sets the levels that the configuration names, and takes those away that it
// named before.
func (r *reloader) applyLevels(now *reread, ofAll bool) error {
	var err error
	if ofAll {
		err = r.o.log.Set("", now.level)
	}
	for module := range r.o.modules {
		if _, still := now.modules[module]; !still {
			err = errors.Join(err, r.o.log.Set(module, hclog.NoLevel))
		}
	}
	for module, level := range now.modules {
		if r.o.modules[module] != level {
			err = errors.Join(err, r.o.log.Set(module, level))
		}
	}
	r.o.modules = now.modules
	return err
}

// reloadLimit bounds a reload by a signal; what it reads are small files.
const reloadLimit = 30 * time.Second

// ending is why a node that was started ends.
type ending int

const (
	bySignal    ending = iota // or by the end of its terminal
	byItself                  // it failed, or was drained from elsewhere
	bySuccessor               // another process has its sockets (start --handover)
)

// until waits for the end of the node and reloads at each SIGHUP. SIGHUP of a terminal that
// is gone is the end of the program: nobody can stop it there any more.
func (r *reloader) until(ctx context.Context, out, errs io.Writer) ending {
	had := hasTerminal()
	again, release := interruptsOf(ctx).take(syscall.SIGHUP)
	defer release()
	for {
		select {
		case <-again:
			if had && !hasTerminal() {
				return bySignal
			}
			r.bySignal(out, errs)
		case <-ctx.Done():
			return bySignal
		case <-r.node.handover.replaced():
			return bySuccessor
		case <-r.node.node.Done():
			return byItself
		}
	}
}

// Nobody waits for the answer of a signal, so it goes where the node's other words go: what was
// applied to stdout, a refusal to stderr. The event has both.
//
// bySignal reloads because of SIGHUP, and says on stdout or stderr what came of it.
func (r *reloader) bySignal(out, errs io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), reloadLimit)
	defer cancel()
	done, err := r.node.admin.Reload(ctx)
	if err != nil {
		fmt.Fprintln(errs, printableLines(err.Error()))
		return
	}
	fmt.Fprintln(out, printable("the configuration was read again: "+admin.Summary(done.Changes)))
}

// hasTerminal tells whether the process belongs to a terminal. A terminal that closes sends
// SIGHUP, too; then it is gone.
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err == nil {
		_ = f.Close()
	}
	return err == nil
}
