package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

const patience = time.Minute

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// pair are two nodes; only the first one has the API.
func pair(t *testing.T) (*Server, *cluster.Node) {
	t.Helper()
	var nodes []*cluster.Node
	for _, cfg := range []cluster.Config{{Name: "n1"}, {Name: "n2"}} {
		cfg.Logger = hclog.NewNullLogger()
		if len(nodes) > 0 {
			cfg.Beside = nodes[0]
		}
		n, err := cluster.Start(testCtx(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		nodes = append(nodes, n)
	}
	if err := nodes[0].WaitMembers(testCtx(t), 2); err != nil {
		t.Fatal(err)
	}
	s, err := Open(nodes[0], hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, nodes[1]
}

func TestANodeWithoutTheAPIIsNamed(t *testing.T) {
	s, other := pair(t)
	list := s.nodes(testCtx(t))
	if len(list.Items) != 2 || list.Items[0].State != Ready || list.Items[1].State != Silent || list.Items[1].ID != "n2" {
		t.Fatalf("%+v", list.Items)
	}
	if len(list.Partial) != 1 || list.Partial[0].ID != "n2" || list.Partial[0].Error.Hint == "" {
		t.Fatalf("%+v", list.Partial)
	}
	if _, err := Open(other, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if list := s.nodes(testCtx(t)); len(list.Partial) != 0 || list.Items[1].State != Ready {
		t.Fatalf("%+v", list)
	}
	if _, err := Open(other, hclog.NewNullLogger()); !errors.Is(err, cluster.ErrNameTaken) {
		t.Fatalf("opened twice: %v", err)
	}
}

// A member whose process is gone is listed as what it is while it is not given up, and
// not at all afterwards: the list and what is said beside it agree.
func TestAMemberThatIsGoneIsNotUnknown(t *testing.T) {
	gone := fmt.Errorf("node n2: %w: nobody listens under that name", cluster.ErrUnknownNode)
	asked := []nodeView{
		{Member: events.Member{Name: "n1", Incarnation: 1, Self: true}},
		{Member: events.Member{Name: "n2", Incarnation: 2}, err: gone},
		{Member: events.Member{Name: "n3", Incarnation: 3, Suspect: true}, err: gone},
		{Member: events.Member{Name: "n4", Incarnation: 4}, err: gone},
	}
	now := []events.Member{{Name: "n1", Incarnation: 1, Self: true}, {Name: "n2", Incarnation: 2, Suspect: true}, {Name: "n4", Incarnation: 5}}
	views := stillMembers(asked, now)
	if len(views) != 2 || views[0].Name != "n1" || views[1].Name != "n2" {
		t.Fatalf("%+v", views)
	}
	if n := views[1].node(); n.State != Suspect {
		t.Error(n.State)
	}
	list := newList[Node]("NodeList")
	list.missing("n2", views[1].err)
	if e := list.Partial[0].Error; e.Kind != Unreachable || strings.Contains(e.Message, "unknown") || !strings.Contains(e.Message, "nobody listens") {
		t.Errorf("%+v", e)
	}
}

func TestAStuckLoopIsNamedAndTheRestAnswers(t *testing.T) {
	s, other := pair(t)
	if _, err := Open(other, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	stuck, err := other.NewLoop("stuck")
	if err != nil {
		t.Fatal(err)
	}
	release, held := make(chan struct{}), make(chan struct{})
	loop, _ := stuck.Local()
	if err := loop.Ref().CallSoonThreadsafe(func() { close(held); <-release }); err != nil {
		t.Fatal(err)
	}
	<-held
	ctx, cancel := context.WithTimeout(testCtx(t), 6*time.Second) // a third of it for each question
	defer cancel()
	list := s.loops(ctx, 0)
	if ctx.Err() != nil {
		t.Error("there was no time left to answer")
	}
	var names []string
	for _, l := range list.Items {
		names = append(names, l.ID)
	}
	if got := strings.Join(names, " "); got != "n1/admin n2/admin" {
		t.Errorf("listed %s", got)
	}
	if len(list.Partial) != 1 || list.Partial[0].ID != "n2/stuck" || list.Partial[0].Error.Kind != TimedOut {
		t.Errorf("%+v", list.Partial)
	}
	close(release)
	if list := s.loops(testCtx(t), 0); len(list.Items) != 3 || len(list.Partial) != 0 {
		t.Errorf("after it went on: %+v", list)
	}
}

func TestTheSocket(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	s, other := pair(t)
	if err := s.Listen(Path("n1")); err != nil {
		t.Fatal(err)
	}
	t.Run("only the owner may open it", func(t *testing.T) {
		for path, want := range map[string]os.FileMode{Path("n1"): os.ModeSocket | 0o600, Dir(): os.ModeDir | 0o700} {
			info, err := os.Lstat(path)
			if err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	})
	t.Run("nothing else is left in the folder", func(t *testing.T) {
		all, err := os.ReadDir(Dir())
		if err != nil || len(all) != 2 {
			t.Errorf("%v, %v", all, err)
		}
	})
	t.Run("one that is in use is refused, and stays in use", func(t *testing.T) {
		second, err := Open(other, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Listen(Path("n1")); !errors.Is(err, ErrInUse) {
			t.Fatalf("got %v", err)
		}
		c := NewClient(Path("n1"))
		defer c.Close()
		if self, err := c.Self(testCtx(t)); err != nil || self.Name != "n1" || len(self.Members) != 2 {
			t.Fatalf("%+v, %v", self, err)
		}
	})
	t.Run("it goes with its server", func(t *testing.T) {
		s.Close()
		if _, err := os.Lstat(Path("n1")); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		var e *Error
		c := NewClient(Path("n1"))
		defer c.Close()
		if _, err := c.Self(testCtx(t)); !errors.As(err, &e) || e.Kind != Unreachable || e.Hint == "" {
			t.Errorf("got %v", err)
		}
	})
}

func TestPlacesForASocket(t *testing.T) {
	t.Run("a dead socket is replaced", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "n.sock")
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		_ = dead.Close()
		s, err := listen(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		s.remove()
		_ = s.listener.Close()
		s.release()
	})
	t.Run("a file is not", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "n.sock")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("got %v", err)
		}
		if b, err := os.ReadFile(path); string(b) != "precious" {
			t.Errorf("%q, %v", b, err)
		}
	})
	t.Run("a path that is too long says so", func(t *testing.T) {
		if _, err := listen(filepath.Join(t.TempDir(), strings.Repeat("x", 100), "n.sock")); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a folder that others may enter is not trusted", func(t *testing.T) {
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		if err := os.Mkdir(Dir(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(Dir(), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := listen(Path("n1")); err == nil || !strings.Contains(err.Error(), "open to other users") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("without a runtime directory each user has a folder in the temporary one", func(t *testing.T) {
		t.Setenv("XDG_RUNTIME_DIR", "relative")
		if dir := Dir(); !strings.HasPrefix(dir, os.TempDir()) || filepath.Base(dir) == "loopmesh" {
			t.Error(dir)
		}
	})
}

func TestAClientTrustsNoSocketOfAnotherUser(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	s, _ := pair(t)
	if err := s.Listen(Path("n1")); err != nil {
		t.Fatal(err)
	}
	t.Run("a folder that others may enter", func(t *testing.T) {
		if err := os.Chmod(Dir(), 0o777); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Chmod(Dir(), 0o700) }()
		var e *Error
		c := NewClient(Path("n1"))
		defer c.Close()
		if _, err := c.Self(testCtx(t)); !errors.As(err, &e) || e.Kind != Refused || !strings.Contains(e.Message, "open to other users") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a folder that is a link", func(t *testing.T) {
		real := Dir()
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		if err := os.Symlink(real, Dir()); err != nil {
			t.Fatal(err)
		}
		var e *Error
		c := NewClient(Path("n1"))
		defer c.Close()
		if _, err := c.Self(testCtx(t)); !errors.As(err, &e) || e.Kind != Refused {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the owner of the listening process", func(t *testing.T) {
		for _, c := range []struct {
			uid, us     int
			named, want bool
		}{
			{1000, 1000, false, true}, {0, 1000, false, true}, {1001, 1000, false, false}, {1001, 1000, true, false},
			{1001, 0, false, false}, {1001, 0, true, true},
		} {
			if got := trustedUID(c.uid, c.us, c.named); got != c.want {
				t.Errorf("a server of user %d, asked by %d, named %v: %v", c.uid, c.us, c.named, got)
			}
		}
		conn, err := net.Dial("unix", Path("n1"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if uid, ok := peerUID(conn); ok && uid != os.Getuid() {
			t.Errorf("the kernel tells user %d", uid)
		}
	})
}

func TestRequests(t *testing.T) {
	s, _ := pair(t)
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/api/v1/self", "", 200, `"name":"n1"`},
		{"GET", "/api/v1/nodes?timeout=-1s", "", 400, `"bad_request"`},
		{"GET", "/api/v1/call", "", 404, `there is no GET /api/v1/call`},
		{"GET", "/nothing", "", 404, `"not_found"`},
		{"POST", "/api/v1/call", "{", 400, `is not a call`},
		{"POST", "/api/v1/call", `{"function":"x","on":"nonsense"}`, 400, `n1/admin`},
		{"POST", "/api/v1/call", `{"function":"x","on":"n1/admin"}`, 404, `functions of n1`},
		{"POST", "/api/v1/conns/write", "x", 400, `"bad_request"`},
		{"POST", "/api/v1/conns/close?id=n1/admin/transports/1", "", 404, `conn ls`},
		{"POST", "/api/v1/conns/write?id=n1/admin/transports/1", strings.Repeat("x", maxBody+1), 400, `too large`},
	} {
		w := httptest.NewRecorder()
		s.handler().ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
}

func TestKindsHaveStatuses(t *testing.T) {
	for err, want := range map[error]string{
		cluster.ErrUnknownLoop: NotFound, cluster.ErrBadPayload: BadRequest, cluster.ErrBusy: Refused, cluster.ErrNodeDown: Unreachable,
		context.DeadlineExceeded: TimedOut, context.Canceled: Cancelled, io.ErrUnexpectedEOF: Failed,
		&Error{Kind: Refused}: Refused,
	} {
		e := asError(err)
		if e.Kind != want || statuses[e.Kind] < http.StatusBadRequest {
			t.Errorf("%v: %s, %d", err, e.Kind, statuses[e.Kind])
		}
	}
}

// strange answers what no node would.
func strange(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(answer)
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	c := NewClient(path)
	t.Cleanup(c.Close)
	return c
}

func TestAClientUnderstandsWhatGoesWrong(t *testing.T) {
	for _, c := range []struct {
		what   string
		answer http.HandlerFunc
		kind   string
	}{
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, Failed},
		{"an error without a document", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, Failed},
		{"a cut connection", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, Unreachable},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, TimedOut},
	} {
		ctx, cancel := testCtx(t), context.CancelFunc(func() {})
		if c.kind == TimedOut {
			ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
		}
		_, err := strange(t, c.answer).Self(ctx)
		cancel()
		var e *Error
		if !errors.As(err, &e) || e.Kind != c.kind {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	ctx, cancel := context.WithCancel(testCtx(t))
	cancel()
	var e *Error
	if _, err := NewClient("/nowhere").Self(ctx); !errors.As(err, &e) || e.Kind != Cancelled {
		t.Errorf("given up: %v", err)
	}
}
