package conformance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/transportactors"
)

func TestGoldenUnix(t *testing.T) {
	t.Run("a server at a path, its file, a dead one, a half-close", func(t *testing.T) {
		golden(t, "g25_unix", func(t *testing.T, say func(...any)) {
			dir := t.TempDir()
			sideParts(t, say,
				func(ctx context.Context, say func(...any)) error { return unixLife(ctx, say, filepath.Join(dir, "s")) },
				func(ctx context.Context, say func(...any)) error {
					path := filepath.Join(dir, "file")
					server := &party{name: "server"}
					err := os.WriteFile(path, nil, 0o600)
					_, failed := transportactors.CreateUnixServer(ctx, func() transportactors.Protocol { return &side{party: server} }, path)
					server.say(why(failed))
					tell(say, "another file is in the way", server)
					return err
				})
		})
	})
}

// deadSocket leaves the file of a socket that nobody has.
func deadSocket(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Close(fd))
}

func unixLife(ctx context.Context, say func(...any), path string) error {
	there, here := ends()
	there.keep = true
	connect := func() error {
		_, _, err := transportactors.CreateUnixConnection(ctx, func() *side { return here }, path)
		return err
	}
	here.say("nothing there:", why(connect()))
	if err := deadSocket(path); err != nil {
		return err
	}
	here.say("a dead one:", why(connect()))
	s, err := transportactors.CreateUnixServer(ctx, func() transportactors.Protocol { return there }, path)
	if err != nil {
		return err
	}
	there.say("in the dead one's place")
	if err := errors.Join(connect(), there.until(ctx, "connection_made")); err != nil {
		return err
	}
	here.say("peer:", pythonBool(shown(here.t, "peername") == path))
	there.say("address:", pythonBool(shown(there.t, "sockname") == path))
	err = errors.Join(here.t.Write([]byte("question")), here.t.WriteEOF(), there.until(ctx, "eof_received"),
		there.t.Write([]byte("answer")))
	there.t.Close()
	err = errors.Join(err, untilLost(ctx, here.party, there.party))
	s.Close()
	err = errors.Join(err, s.WaitClosed(ctx))
	_, gone := os.Stat(path)
	there.say("the file stays:", pythonBool(gone == nil))
	tell(say, "a life", there.party, here.party)
	return err
}
