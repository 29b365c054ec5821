package handover

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// FuzzOffer: whatever the process before says, and whatever it sends with it, is an error
// with a name or an offer whose sockets listen; of a bad one no descriptor stays open.
func FuzzOffer(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"names":["web"]}`, `{"v":1}`, `{"v":1,"names":["web","web"]}`, `{"v":1,"refused":"busy"}`, `{"v":2,"names":["web"]}`,
		`{"v":1,"names":[""]}`, `{"v":1,"names":null}`, `{`, ``, `null`, `[]`, `{"v":1e99}`, strings.Repeat(`{"v":`, 200),
	} {
		for sent := range uint8(4) {
			f.Add([]byte(seed), sent)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		f.Fatal(err)
	}
	defer socket.Close()
	other, err := os.Create(filepath.Join(f.TempDir(), "file"))
	if err != nil {
		f.Fatal(err)
	}
	defer other.Close()
	sets := [][]*os.File{nil, {socket}, {socket, socket}, {socket, other}}
	before := openFiles(f)
	f.Fuzz(func(t *testing.T, line []byte, sent uint8) {
		files := sets[int(sent)%len(sets)]
		in := &Sockets{}
		err := in.take(line, files)
		if err == nil && (len(in.Names()) != len(files) || slices.Contains(files, other)) {
			t.Errorf("%q with %d files gave %q", line, len(files), in.Names())
		}
		if err != nil && !errors.Is(err, loopnode.ErrInvalidArgument) && !errors.Is(err, loopnode.ErrBusy) {
			t.Errorf("an error without a name: %v", err)
		}
		in.Close()
		if after := openFiles(t); after > before {
			t.Fatalf("%d descriptors are open, %d before", after, before)
		}
	})
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// FuzzActivated: the variables of the service manager give so many names as there are
// descriptors, each with something to call it by, or an error with a name; those that are
// meant for another process give nothing.
func FuzzActivated(f *testing.F) {
	for _, seed := range [][2]string{
		{"1", "web"}, {"2", "web"}, {"2", "web:admin:more"}, {"0", ""}, {"", "web"}, {"-1", ""}, {"254", ""}, {"253", ":::"}, {"1e2", "x"}, {"99999999999999999999", ""}, {"+1", "a"}, {"0x1", "a"},
	} {
		f.Add(seed[0], seed[1], true)
		f.Add(seed[0], seed[1], false)
	}
	f.Fuzz(func(t *testing.T, count, names string, mine bool) {
		if strings.Contains(count+names, "\x00") {
			return // no variable holds that
		}
		pid := os.Getpid()
		if !mine {
			pid++
		}
		t.Setenv(listenPID, strconv.Itoa(pid))
		t.Setenv(listenFDs, count)
		t.Setenv(listenNames, names)
		have, err := activated()
		n, _ := strconv.Atoi(count)
		switch {
		case !mine && (have != nil || err != nil):
			t.Errorf("what is another's gave %q, %v", have, err)
		case err != nil && !errors.Is(err, loopnode.ErrInvalidArgument):
			t.Errorf("an error without a name: %v", err)
		case err == nil && mine && (len(have) != n || n > maxSockets || slices.Contains(have, "")):
			t.Errorf("%q and %q gave %q", count, names, have)
		}
	})
}
