package process

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Profile is a command that other nodes may start here, when they have the right
// "spawn:NAME". All that a caller may choose is named in it. There is no shell between the
// caller and the program: an argument is one word of the child's argument list, whatever
// it contains.
type Profile struct {
	// Name is one word of letters, digits, - and _.
	Name string `yaml:"-"`
	// Argv is the program, by its absolute path, and its arguments. {NAME} in one of them
	// stands for the argument NAME of the caller, and an element {...} for the words that it
	// gives beside these, in order. The program itself is chosen by the caller only when
	// Argv is {...} alone: such a profile lets every command run, as its user.
	Argv []string `yaml:"argv"`
	// Args says for each {NAME} what values it takes: a regular expression (RE2) for all of
	// the value. "" takes one line that does not begin with -, so that no value turns into
	// an option of the program.
	Args map[string]string `yaml:"args"`
	// Defaults are the values of arguments that the caller leaves out; the others it has to
	// give.
	Defaults map[string]string `yaml:"defaults"`
	// Words is Args for each word of {...}.
	Words string `yaml:"words"`

	// Dir is the folder the program starts in, an absolute path; default /.
	Dir string `yaml:"dir"`
	// User is who it runs as: the name of a user, or UID:GID. Default: this process's user.
	// Another one takes the right to change to it.
	User string `yaml:"user"`
	// Env is KEY=value for every child. Of this process's environment it gets nothing but
	// the variables in Inherit; the caller may set those in Accept. PATH is /usr/local/bin,
	// /usr/bin and /bin unless one of these says otherwise.
	Env     []string `yaml:"env"`
	Inherit []string `yaml:"inherit"`
	Accept  []string `yaml:"accept"`

	// Children is how many may run at a time; more are refused (ErrTooMany). Default 8.
	Children int `yaml:"children"`
	// MaxTime is how long one may run before the node ends it; 0: as long as it likes.
	MaxTime time.Duration `yaml:"max_time"`
	// Grace is between SIGTERM and SIGKILL when the node ends one; default 5 s.
	Grace time.Duration `yaml:"grace"`
	// Limits are the kernel's for each process; 0: as this process has them.
	Limits Limits `yaml:"limits"`
	// Group is a control group for each child, with limits for all of its processes together.
	// The zero Group is none.
	Group Group `yaml:"group"`

	// Orphan says what happens to a child whose owner is gone: the node that started it died
	// or left, or has not asked for it for half a minute. Default Kill.
	Orphan Orphan `yaml:"orphan"`
	// Spool is how many bytes of its stdout, and of its stderr, are kept for Attach, the
	// newest; default 256 KiB. With Keep only.
	Spool int `yaml:"spool"`
	// Kept is how long the spool and the exit status of one that has ended wait for an
	// Attach; default one hour. With Keep only.
	Kept time.Duration `yaml:"kept"`
}

// Limits are set by the shell's ulimit before the program begins (setrlimit), and hold for
// the processes that it starts, for each of them anew.
type Limits struct {
	CPU    time.Duration `yaml:"cpu"`    // processor time, rounded up to seconds: SIGXCPU, then SIGKILL
	Memory int64         `yaml:"memory"` // bytes of address space
	Files  int           `yaml:"files"`  // open files
	Output int64         `yaml:"output"` // bytes of one file that it writes: SIGXFSZ
}

// Group is a control group (cgroup v2). Every child gets a group of its own below Parent, and
// begins in it, so that nothing that it starts is outside, in whatever session. A process that
// is killed, or ends, takes the rest of its group with it (cgroup.kill). A limit of 0 is
// none. Where the machine does not have what is needed, nothing is started (ErrNoGroup).
type Group struct {
	Parent    string  `yaml:"parent"`    // the folder, an absolute path, as /sys/fs/cgroup/loopmesh; the node has to be able to write it
	Memory    int64   `yaml:"memory"`    // bytes (memory.max); when they are used up, the kernel ends the whole group
	Processes int     `yaml:"processes"` // with threads (pids.max): more cannot be made
	CPU       float64 `yaml:"cpu"`       // processors (cpu.max): 0.5 is half of one; at least 0.01
}

// Orphan is a policy for children whose owner is gone.
type Orphan string

// The policies.
const (
	// Kill sends SIGTERM to the process group, and SIGKILL after Profile.Grace.
	Kill Orphan = "kill"
	// Keep lets it run. Its stdin ends, and the newest of its output waits for Attach.
	Keep Orphan = "keep"
)

// Bounds of a profile.
const (
	usualChildren = 8
	maxChildren   = 1000 // of one node, all profiles together
	usualGrace    = 5 * time.Second
	maxGrace      = time.Minute
	usualSpool    = 256 << 10
	maxSpool      = 16 << 20
	usualKept     = time.Hour
	maxWord       = 4 << 10 // bytes of one argument
	maxWords      = 256     // of {...}
	usualPath     = "PATH=/usr/local/bin:/usr/bin:/bin"
)

// safeWord is what an argument takes when its profile says nothing.
const safeWord = `[^-\x00-\x1f\x7f][^\x00-\x1f\x7f]*`

// profile is a Profile that was checked, and what runs of it. The second group of fields is
// owned by the loop of the host.
//
// Why a pointer to running? A child belongs to the profile it was started by, also when
// Replace has put another one in its place. Both count the same children, or those of the
// old one could run beside as many of the new one.
type profile struct {
	Profile
	patterns map[string]*regexp.Regexp // of Args; rest for {...}
	user     *account                  // nil: this process's

	running  *int     // children that start or run, of all profiles that had this name
	finished []uint64 // children that have ended and are kept, the oldest first
}

// rest is the name of {...} in patterns: no argument can have it.
const rest = "..."

// reference finds {NAME} and {...} in an element of Argv.
var reference = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*|\.\.\.)\}`)

// check refuses what could only fail later, fills in the defaults and compiles the
// patterns.
func (p Profile) check() (*profile, error) {
	bad := func(format string, args ...any) error {
		return fault.Config("profile %q: "+format, append([]any{p.Name}, args...)...)
	}
	p.fillIn()
	out := &profile{Profile: p, patterns: map[string]*regexp.Regexp{}}
	switch {
	case !wire.ValidName(p.Name):
		return nil, bad("its name: use up to %d letters, digits, - and _", wire.MaxNode)
	case len(p.Argv) == 0:
		return nil, bad("argv is missing: give the program by its absolute path, and its arguments")
	case !filepath.IsAbs(p.Dir):
		return nil, bad("dir %q is no absolute path", p.Dir)
	case p.Children < 1 || p.Children > maxChildren:
		return nil, bad("children is %d: give 1 to %d", p.Children, maxChildren)
	case p.MaxTime < 0:
		return nil, bad("max_time is %v: give a time, or 0 for no limit", p.MaxTime)
	case p.Grace < 0 || p.Grace > maxGrace:
		return nil, bad("grace is %v: give up to %v", p.Grace, maxGrace)
	case p.Orphan != Kill && p.Orphan != Keep:
		return nil, bad("orphan is %q: there is %s and %s", p.Orphan, Kill, Keep)
	case p.Spool < 0 || p.Spool > maxSpool:
		return nil, bad("spool is %d: give up to %d bytes", p.Spool, maxSpool)
	case p.Kept < 0:
		return nil, bad("kept is %v: give a time", p.Kept)
	case p.Limits.CPU < 0 || p.Limits.Memory < 0 || p.Limits.Files < 0 || p.Limits.Output < 0:
		return nil, bad("a limit is negative: 0 is for none")
	}
	for _, check := range []func(*profile) error{checkProgram, checkTemplate, checkEnvironment, checkGroup, lookUpUser} {
		if err := check(out); err != nil {
			return nil, bad("%w", err)
		}
	}
	return out, nil
}

// fillIn puts the defaults in place of zero values.
func (p *Profile) fillIn() {
	if p.Dir == "" {
		p.Dir = "/"
	}
	if p.Children == 0 {
		p.Children = usualChildren
	}
	if p.Grace == 0 {
		p.Grace = usualGrace
	}
	if p.Orphan == "" {
		p.Orphan = Kill
	}
	if p.Spool == 0 {
		p.Spool = usualSpool
	}
	if p.Kept == 0 {
		p.Kept = usualKept
	}
}

// anyProgram reports whether the caller chooses the program.
func (p *profile) anyProgram() bool { return len(p.Argv) == 1 && p.Argv[0] == "{...}" }

// checkProgram looks for the program now: a misspelt path is found when the node starts,
// not by the first caller.
func checkProgram(p *profile) error {
	if p.anyProgram() {
		return nil
	}
	program := p.Argv[0]
	if !filepath.IsAbs(program) || reference.MatchString(program) {
		return fmt.Errorf("the program %q is no absolute path; only an argv of {...} alone lets the caller choose it", program)
	}
	info, err := os.Stat(program)
	switch {
	case err != nil:
		return err
	case info.IsDir() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is no program", program)
	}
	return nil
}

// checkTemplate compares what Argv refers to with Args, and compiles the patterns.
func checkTemplate(p *profile) error {
	used := map[string]bool{}
	for _, word := range p.Argv {
		for _, found := range reference.FindAllStringSubmatch(word, -1) {
			if used[found[1]] = true; found[1] == rest && word != "{...}" {
				return fmt.Errorf("{...} is a part of %q: it has to be an element of its own", word)
			}
		}
		if strings.ContainsRune(word, 0) {
			return fmt.Errorf("argv contains a NUL byte")
		}
	}
	patterns := maps.Clone(p.Args)
	if patterns == nil {
		patterns = map[string]string{}
	}
	for name := range p.Args {
		if !used[name] {
			return fmt.Errorf("args has %s, but {%s} is not in argv", name, name)
		}
	}
	for name := range used {
		if _, has := patterns[name]; !has {
			patterns[name] = ""
		}
	}
	if used[rest] {
		patterns[rest] = p.Words
	} else if p.Words != "" {
		return fmt.Errorf("words is set, but {...} is not in argv")
	}
	for name, pattern := range patterns {
		if pattern == "" {
			pattern = safeWord
		}
		if _, err := regexp.Compile(pattern); err != nil { // alone first: "a)|(b" must not open the brackets around it
			return fmt.Errorf("the pattern of {%s}: %w", name, err)
		}
		p.patterns[name] = regexp.MustCompile(`^(?s:` + pattern + `)$`)
	}
	for name, value := range p.Defaults {
		if p.patterns[name] == nil || name == rest {
			return fmt.Errorf("defaults has %s, but {%s} is not in argv", name, name)
		}
		if err := p.fits(name, value); err != nil {
			return fmt.Errorf("the default of {%s}: %w", name, err)
		}
	}
	return nil
}

// checkEnvironment refuses entries that are no KEY=value, and names that are none.
func checkEnvironment(p *profile) error {
	for _, e := range p.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || !validVariable(name) || strings.ContainsRune(e, 0) {
			return fmt.Errorf("env has %q: write KEY=value", e)
		}
	}
	for _, name := range slices.Concat(p.Inherit, p.Accept) {
		if !validVariable(name) {
			return fmt.Errorf("%q is no name of a variable", name)
		}
	}
	return nil
}

func validVariable(name string) bool { return name != "" && !strings.ContainsAny(name, "=\x00 ") }

// fits reports why a value may not stand for an argument. The value is quoted, and cut: it
// comes from another node and is printed on terminals.
func (p *profile) fits(name, value string) error {
	switch {
	case len(value) > maxWord:
		return badArguments("%s has %d bytes, the most is %d", name, len(value), maxWord)
	case strings.ContainsRune(value, 0):
		return badArguments("%s contains a NUL byte", name)
	case !p.patterns[name].MatchString(value):
		pattern := p.Args[name]
		if name == rest {
			pattern = p.Words
		}
		if pattern == "" {
			return badArguments("%s is %.80q: it takes one line that does not begin with -", name, value)
		}
		return badArguments("%s is %.80q: it has to match %s", name, value, pattern)
	}
	return nil
}

// What a caller gives goes through three checks, in this order: is there a place for it in
// the profile, does all of it match the pattern of that place, and is it something that an
// argument list can carry at all (no NUL byte, a bounded length)? Values are put into the
// elements of Argv in one pass: a value that contains {NAME} is text, and is not looked at
// again.
//
// argv makes the child's argument list of what the caller gave, or says in an ErrArguments
// what does not fit.
func (p *profile) argv(args map[string]string, words []string) ([]string, error) {
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if p.patterns[name] == nil || name == rest {
			return nil, badArguments("profile %s has no argument %.80q: it takes %s", p.Name, name, p.takes())
		}
	}
	values := maps.Clone(p.Defaults)
	if values == nil {
		values = map[string]string{}
	}
	maps.Copy(values, args)
	for _, name := range slices.Sorted(maps.Keys(p.patterns)) {
		value, given := values[name]
		switch {
		case name == rest:
		case !given:
			return nil, badArguments("profile %s needs the argument %s: it takes %s", p.Name, name, p.takes())
		default:
			if err := p.fits(name, value); err != nil {
				return nil, err
			}
		}
	}
	if err := p.checkWords(words); err != nil {
		return nil, err
	}
	var out []string
	for _, word := range p.Argv {
		if word == "{...}" {
			out = append(out, words...)
			continue
		}
		out = append(out, reference.ReplaceAllStringFunc(word, func(found string) string { return values[found[1:len(found)-1]] }))
	}
	return out, nil
}

func (p *profile) checkWords(words []string) error {
	switch {
	case p.patterns[rest] == nil && len(words) > 0:
		return badArguments("profile %s takes no words of the caller's: it takes %s", p.Name, p.takes())
	case len(words) > maxWords:
		return badArguments("%d words, the most is %d", len(words), maxWords)
	case p.anyProgram() && (len(words) == 0 || words[0] == ""):
		return badArguments("profile %s runs what the caller says: give a program and its arguments", p.Name)
	}
	for _, w := range words {
		if err := p.fits(rest, w); err != nil {
			return err
		}
	}
	return nil
}

// takes lists the arguments for people.
func (p *profile) takes() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.patterns)) {
		if _, may := p.Defaults[name]; may {
			name = "[" + name + "]"
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// environment makes the child's environment, or says which variable the caller may not set.
func (p *profile) environment(given map[string]string) ([]string, error) {
	out := []string{usualPath}
	for _, name := range p.Inherit {
		if value, has := os.LookupEnv(name); has {
			out = append(out, name+"="+value)
		}
	}
	out = append(out, p.Env...)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := given[name]
		switch {
		case !slices.Contains(p.Accept, name):
			return nil, badArguments("profile %s takes no variable %.80q of the caller's", p.Name, name)
		case len(value) > maxWord || strings.ContainsRune(value, 0):
			return nil, badArguments("the value of %s is too long, or contains a NUL byte", name)
		}
		out = append(out, name+"="+value)
	}
	return out, nil
}
