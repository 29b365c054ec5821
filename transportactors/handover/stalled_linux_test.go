package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// offered is a server that says "old", and the offer of its socket.
func offered(ctx context.Context, t *testing.T, path string, limit time.Duration) (*transportactors.Server, *Offer) {
	t.Helper()
	none, err := Inherit(ctx, "")
	must(t, err)
	old, err := serveAs(ctx, none, "old")
	must(t, err)
	offer, err := Open(ctx, path, map[string]*transportactors.Server{"clients": old})
	must(t, err)
	offer.limit = limit
	return old, offer
}

func notReplaced(t *testing.T, offer *Offer) {
	t.Helper()
	select {
	case <-offer.Replaced():
		t.Error("it counts as replaced")
	default:
	}
}

// inheritSoon is Inherit as soon as nobody else has the sockets.
func inheritSoon(ctx context.Context, path string) (*Sockets, error) {
	for {
		in, err := Inherit(ctx, path)
		if !errors.Is(err, loopnode.ErrBusy) {
			return in, err
		}
		if err := loopnode.Sleep(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// TestANewProcessThatStandsStillChangesNothing: a process is stopped when it has the sockets.
// The old one serves on, says so when the time is over, and gives them to the next one; the
// stopped one finds out when it goes on.
func TestANewProcessThatStandsStillChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	inLoop(t, func(ctx context.Context) error {
		loop, err := loopnode.Running(ctx)
		must(t, err)
		var reports []string
		loop.SetExceptionHandler(func(_ *loopnode.Loop, e loopnode.ExceptionContext) { reports = append(reports, e.Exception.Error()) })
		old, offer := offered(ctx, t, path, 500*time.Millisecond) // the test itself has the sockets for less, on a busy machine, too
		child := testkit.Command(t, "stands-still", path)
		out, err := child.StdoutPipe()
		must(t, err)
		goOn, err := child.StdinPipe()
		must(t, err)
		must(t, child.Start())
		defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
		lines := bufio.NewReader(out)
		next := func() (string, error) {
			return testkit.Aside(ctx, func() (string, error) { return lines.ReadString('\n') })
		}
		if line, err := next(); err != nil || line != "has 1\n" {
			t.Fatalf("%q, %v", line, err)
		}
		must(t, child.Process.Signal(syscall.SIGSTOP))
		must(t, wants(ctx, old.Addrs()[0], "old"))
		in, err := inheritSoon(ctx, path)
		must(t, err)
		notReplaced(t, offer)
		want := fmt.Sprintf("process %d was given the listening sockets", child.Process.Pid)
		if len(reports) != 1 || !strings.Contains(reports[0], want) {
			t.Errorf("it reports %q, want %q", reports, want)
		}
		must(t, wants(ctx, old.Addrs()[0], "old"))
		_, err = io.WriteString(goOn, "\n")
		must(t, err)
		must(t, child.Process.Signal(syscall.SIGCONT))
		if line, err := next(); err != nil || !strings.HasPrefix(line, "refused: the process before did not confirm that it lets go") {
			t.Errorf("the one that stood still says %q, %v", line, err)
		}
		offer.limit = patience // of those that ask from now on
		in.Close()
		in, err = inheritSoon(ctx, path)
		must(t, err)
		must(t, in.Serving(ctx))
		_, _, err = loopnode.Recv(ctx, offer.Replaced())
		in.Close()
		old.Close()
		return err
	})
}

// standStill is a process that says what it was given, and waits for a line before it serves.
func standStill(path string) error {
	return loopnode.Run(context.Background(), func(ctx context.Context) error {
		in, err := Inherit(ctx, path)
		if err != nil {
			return err
		}
		defer in.Close()
		fmt.Println("has", len(in.Names()))
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
		if err := in.Serving(ctx); err != nil {
			fmt.Println("refused:", err)
			return nil
		}
		fmt.Println("serving")
		return nil
	})
}

// TestTheWordThatCameWhileItStoodStill: the old process has let go, and the new one reads that
// when its time is over. It must not give up: nobody would serve.
func TestTheWordThatCameWhileItStoodStill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	l, err := net.Listen("unix", path)
	must(t, err)
	defer func() { _ = l.Close() }()
	answered, asked := make(chan struct{}), make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, `{"v":1}`+"\n")
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != sayServing {
			t.Errorf("%q, %v", line, err)
		}
		close(asked)
		<-answered
		_, _ = io.WriteString(c, sayYours)
		answered <- struct{}{}
		_, _ = c.Read(make([]byte, 1)) // until the new one closes
	}()
	inLoop(t, func(ctx context.Context) error {
		loop, err := loopnode.Running(ctx)
		must(t, err)
		in, err := Inherit(ctx, path)
		must(t, err)
		defer in.Close()
		in.limit = time.Millisecond
		loop.CallSoon(func() { // the whole process, as far as this loop can tell
			over := time.After(20 * in.limit)
			<-asked
			<-over
			answered <- struct{}{}
			<-answered
		})
		return in.Serving(ctx)
	})
}

// TestANewProcessThatGaveUpBeforeTheWord: it takes no word any more, so the old one goes on.
func TestANewProcessThatGaveUpBeforeTheWord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	inLoop(t, func(ctx context.Context) error {
		old, offer := offered(ctx, t, path, patience)
		c, err := net.Dial("unix", path)
		must(t, err)
		defer func() { _ = c.Close() }()
		_, err = testkit.Aside(ctx, func() (string, error) { return bufio.NewReader(c).ReadString('\n') })
		must(t, err)
		must(t, c.(*net.UnixConn).CloseRead())
		_, err = io.WriteString(c, sayServing)
		must(t, err)
		in, err := inheritSoon(ctx, path)
		must(t, err)
		notReplaced(t, offer)
		must(t, wants(ctx, old.Addrs()[0], "old"))
		in.Close()
		offer.Close()
		old.Close()
		return old.WaitClosed(ctx)
	})
}
