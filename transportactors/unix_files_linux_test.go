package transportactors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// fileProbe is a probe that takes files.
type fileProbe struct {
	*probe
	files   []*os.File
	onFiles func([]*os.File)
}

func (p *fileProbe) FilesReceived(files []*os.File) {
	p.log = append(p.log, fmt.Sprint("files ", len(files)))
	p.files = append(p.files, files...)
	if p.onFiles != nil {
		p.onFiles(files)
	}
}

// filePair is two connected transports; the second one takes files.
func filePair(ctx context.Context, t *testing.T) (from Transport, fp *probe, to Transport, tp *fileProbe) {
	ours, theirs := socketPair(t)
	var err error
	from, fp, err = CreateUnixConnection(ctx, func() *probe { return newProbe(ctx) }, "", WithSocket(ours))
	must(t, err)
	to, tp, err = CreateUnixConnection(ctx, func() *fileProbe { return &fileProbe{probe: newProbe(ctx)} }, "", WithSocket(theirs))
	must(t, err)
	return
}

func TestFiles(t *testing.T) {
	t.Run("files come before the data they were sent with, and are the receiver's", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			from, fp, to, tp := filePair(ctx, t)
			r, w, err := os.Pipe()
			must(t, err)
			defer r.Close()
			must(t, from.Write([]byte("plain ")))
			if err := tp.total(ctx, 6); err != nil {
				return err
			}
			must(t, SendFiles(from, []byte("with files"), w, w))
			must(t, w.Close())
			if err := tp.total(ctx, 16); err != nil {
				return err
			}
			if want := []string{"made", "data", "files 2", "data"}; !slices.Equal(tp.log, want) {
				t.Errorf("%q, not %q", tp.log, want)
			}
			for _, f := range tp.files {
				flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
				if err != nil || flags&unix.FD_CLOEXEC == 0 {
					t.Errorf("a child would inherit it: %d, %v", flags, err)
				}
				_, err = io.WriteString(f, "x")
				must(t, err)
				must(t, f.Close())
			}
			if b, err := io.ReadAll(r); string(b) != "xx" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			from.Close()
			return errors.Join(fp.wait(ctx), tp.wait(ctx), closeAfter(to))
		})
	})
	t.Run("files that nobody takes are closed", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			from, fp, _, tp := filePair(ctx, t)
			r, w, err := os.Pipe()
			must(t, err)
			defer r.Close()
			before := descriptors()
			from.SetProtocol(fp) // a probe, which takes none
			boom := errors.New("boom")
			tp.onFiles = func([]*os.File) { panic(boom) }
			must(t, SendFiles(from, []byte("x"), w))
			if err := tp.wait(ctx); !errors.Is(err, boom) || len(tp.data) > 0 || len(*told) != 1 {
				t.Errorf("lost with %v, data %q, told %v", err, tp.data, *told)
			}
			must(t, w.Close())
			if _, err := r.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("somebody still has it: %v", err)
			}
			if err := fp.wait(ctx); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				return err
			}
			if err := loopnode.Sleep(ctx, 0); err != nil {
				return err
			}
			if after := descriptors(); after != before-3 {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
			return nil
		})
	})
	t.Run("a protocol that takes none gets the data, and the kernel closes the files", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			from, fp, to, tp := filePair(ctx, t)
			to.SetProtocol(tp.probe)
			before := descriptors()
			must(t, SendFiles(from, []byte("x"), os.Stdin))
			if err := tp.total(ctx, 1); err != nil {
				return err
			}
			if after := descriptors(); after != before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
			from.Close()
			return errors.Join(fp.wait(ctx), tp.wait(ctx))
		})
	})
	t.Run("bad arguments and a full output send nothing", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			from, fp, _, tp := filePair(ctx, t)
			closed, err := os.Open(os.DevNull)
			must(t, err)
			must(t, closed.Close())
			for _, c := range []struct {
				data  []byte
				files []*os.File
				want  error
			}{
				{nil, []*os.File{os.Stdin}, loopnode.ErrInvalidArgument},
				{[]byte("x"), []*os.File{nil}, loopnode.ErrInvalidArgument},
				{[]byte("x"), make([]*os.File, maxFiles+1), loopnode.ErrInvalidArgument},
				{[]byte("x"), []*os.File{os.Stdin, closed}, os.ErrClosed},
			} {
				if err := SendFiles(from, c.data, c.files...); !errors.Is(err, c.want) {
					t.Errorf("%v, not %v", err, c.want)
				}
			}
			must(t, tp.t.PauseReading())
			for from.WriteBufferSize() == 0 {
				must(t, from.Write(make([]byte, 1<<16)))
			}
			if err := SendFiles(from, []byte("x"), os.Stdin); !errors.Is(err, loopnode.ErrBusy) {
				t.Errorf("%v", err)
			}
			from.Abort()
			if err := SendFiles(from, []byte("x"), os.Stdin); !errors.Is(err, ErrClosed) {
				t.Errorf("%v", err)
			}
			tp.t.Abort()
			if len(tp.files) > 0 {
				t.Errorf("%v", tp.files)
			}
			return errors.Join(fp.wait(ctx), tp.wait(ctx))
		})
	})
	t.Run("more files than the process may open end the connection and leave none", func(t *testing.T) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fds[0])
		defer unix.Close(fds[1])
		_, err = sock.WriteFiles(fds[0], []byte("x"), []int{fds[0], fds[0], fds[0]})
		must(t, err)
		before := descriptors()
		n, got, err := sock.ReadFiles(fds[1], make([]byte, 4), make([]byte, sock.ControlSpace(1))) // too little room is the same to the kernel
		if n != 1 || got != nil || err != unix.EMFILE || descriptors() != before {
			t.Errorf("%d, %v, %v; %d descriptors before, %d after", n, got, err, before, descriptors())
		}
	})
}

func closeAfter(t Transport) error { t.Close(); return nil }
