package nodecmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/internal/filelock"
)

// The file of contexts: named targets, so that one word says which cluster is meant. It is
// one per user, in the folder for configurations (on Linux ~/.config/loopmesh/contexts.yaml):
//
//	selected: prod
//	contexts:
//	  prod: {url: https://ops.example.net, token: …}
//	  here: {socket: /run/loopmesh/n1.sock}
//
// It may hold tokens, so it is written with the mode 0600, and refused when others can read
// it: a token that others could read is no secret any more. It is replaced as a whole by
// renaming a file that is complete, so that a command which is killed leaves the old one, and
// under a lock, so that two commands at once do not lose what one of them wrote.

// Which target wins? --socket and --context name one, --node a node of this machine; only a
// command that names nothing takes the selected context. So a script that says what it means
// does what it says, whatever somebody has selected. Without a selection everything is as if
// there were no contexts, and a file that cannot be read ends the command: to go on would be to
// ask another cluster than the one that was meant.
//
// Why is the token copied into the file, and not the path of its file? A token file that a
// person was given lies in a download folder and is gone next week. Why in a file and not in the
// key store of a desktop? The commands run where there is none: in a shell on a server.

// savedContext is one target. Either socket or url is set.
type savedContext struct {
	Socket string `yaml:"socket,omitempty"`
	URL    string `yaml:"url,omitempty"`
	Token  string `yaml:"token,omitempty"`
}

// target is what it points at, for people; the token is not in it.
func (c savedContext) target() string {
	if c.Socket != "" {
		return c.Socket
	}
	return c.URL
}

// contexts are the contents of the file.
type contexts struct {
	Selected string                  `yaml:"selected,omitempty"`
	Contexts map[string]savedContext `yaml:"contexts"`
}

// maxContexts bounds the file; a person has a handful.
const maxContexts = 256

// noContext is the word that takes the selection away.
const noContext = "none"

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// contextsPath is where the file is.
func contextsPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fileError{fmt.Errorf("there is no folder for the contexts: %w; set XDG_CONFIG_HOME", err)}
	}
	return filepath.Join(dir, "loopmesh", "contexts.yaml"), nil
}

// readContexts reads the file; one that is not there is empty. Everything else that keeps it
// from being read is an error: a command that went on without would ask another cluster.
func readContexts() (c contexts, err error) {
	path, err := contextsPath()
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	} else { // no home, as in services: nobody has saved anything
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		return contexts{Contexts: map[string]savedContext{}}, nil
	}
	if err != nil {
		return c, fileError{fmt.Errorf("the contexts: %w", err)}
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return c, fileError{fmt.Errorf("the contexts: %w", err)}
	case !info.Mode().IsRegular() || info.Size() > maxConfig:
		return c, fileError{fmt.Errorf("the contexts: %s is no file of at most %d bytes", path, maxConfig)}
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return c, fileError{fmt.Errorf("the contexts: %s can be read by other users, and may hold tokens; run chmod 600 on it", path)}
	}
	in := yaml.NewDecoder(io.LimitReader(f, maxConfig))
	in.KnownFields(true)
	if err := in.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fileError{fmt.Errorf("%s: %w", path, err)}
	}
	if c.Contexts == nil {
		c.Contexts = map[string]savedContext{}
	}
	for name, one := range c.Contexts {
		if err := one.check(name); err != nil {
			return c, fileError{fmt.Errorf("%s: context %q: %w", path, name, err)}
		}
	}
	return c, nil
}

// check refuses what no command could use.
func (c savedContext) check(name string) error {
	switch {
	case !contextName.MatchString(name) || name == noContext:
		return fmt.Errorf("the name has to be 1 to 64 letters, digits, _, . and -, and not %q", noContext)
	case (c.Socket == "") == (c.URL == ""):
		return errors.New("it has to have either a socket or a url")
	case c.Socket != "" && !filepath.IsAbs(c.Socket):
		return fmt.Errorf("the socket %s is no absolute path", c.Socket)
	case c.Socket != "" && c.Token != "":
		return errors.New("a socket takes no token")
	case c.URL != "":
		_, err := checkURL(c.URL)
		return err
	}
	return nil
}

// checkURL reads the address of an admin API. A password in it would be printed by every
// list, so it is refused; the path is the API's business.
func checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the address: %w", err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("the address %q has to begin with https:// or http:// and a host", text)
	case u.User != nil:
		return nil, errors.New("the address has a user or password in it; give the token with --token-file")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the address %q has more than a host and a port", text)
	}
	return u, nil
}

// A name other than localhost may mean anything tomorrow, so only an address counts.
//
// onLoopback reports whether an address cannot leave this machine.
func onLoopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// The lock is on a file beside it, since the file itself is replaced: a lock on the old one would
// keep nobody from the new one. It is not waited for; who holds it is done in a moment, or it is
// a person with two terminals, who can be told.
//
// changeContexts reads the file, lets change work on it, and writes it, all under the lock. An
// error of change leaves the file as it is.
func changeContexts(change func(*contexts) error) error {
	path, err := contextsPath()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fileError{fmt.Errorf("the contexts: %w", err)}
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fileError{fmt.Errorf("the contexts: %w", err)}
	}
	defer lock.Close()
	if err := filelock.Take(lock); err != nil {
		return &admin.Error{Kind: admin.Refused, Code: admin.CodeContextBusy, Message: "another command is writing " + path, Hint: "try again"}
	}
	c, err := readContexts()
	if err == nil {
		err = change(&c)
	}
	if err == nil && len(c.Contexts) > maxContexts {
		err = usageError{fmt.Errorf("there are %d contexts, no more can be saved; take some away with 'context rm'", maxContexts)}
	}
	if err != nil {
		return err
	}
	return writeContexts(path, c)
}

// writeContexts replaces the file. CreateTemp makes it with the mode 0600.
func writeContexts(path string, c contexts) error {
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	if err := errors.Join(enc.Encode(c), enc.Close()); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".contexts-*")
	if err != nil {
		return fileError{fmt.Errorf("the contexts: %w", err)}
	}
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what was there before is there still
		return fileError{fmt.Errorf("the contexts: %w", err)}
	}
	return nil
}

// find gives a context by its name; an unknown one is an error with those that there are.
func (c *contexts) find(name string) (savedContext, error) {
	if one, ok := c.Contexts[name]; ok {
		return one, nil
	}
	return savedContext{}, &admin.Error{
		Kind: admin.NotFound, Code: admin.CodeNoContext, Message: fmt.Sprintf("there is no context %q", name),
		Hint: "contexts: " + joinOrNone(slices.Sorted(maps.Keys(c.Contexts))) + "; 'loopmesh context save' makes one",
	}
}

// A socket is checked when it is connected to, as every other one (package admin): that it is this
// user's or root's. An address has its token and, with https, the certificate in its place.
//
// clientOf connects to where a context points.
func clientOf(name string, one savedContext) (*admin.Client, error) {
	if one.Socket != "" {
		return admin.NewClient(one.Socket), nil
	}
	c, err := admin.NewRemoteClient(one.URL, one.Token)
	if err != nil {
		return nil, fileError{fmt.Errorf("context %q: %w", name, err)}
	}
	return c, nil
}
