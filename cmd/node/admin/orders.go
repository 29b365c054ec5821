package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
)

// maxBody bounds what a request may carry; the node's own limit is lower.
const maxBody = 8 << 20

// call runs a function by name.
func (s *Server) call(ctx context.Context, r *http.Request) (any, error) {
	var q CallRequest
	body, err := readBody(r)
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	if err != nil {
		return nil, &Error{BadRequest, "the request is not a call: " + err.Error(), `send {"function": NAME, "on": "node/loop", "payload": JSON}`}
	}
	ref, err := s.node.Ref(q.On)
	if err != nil {
		return nil, s.advise(ctx, err, q.On)
	}
	begun := time.Now()
	out, err := s.node.CallJSON(ctx, ref, q.Function, q.Payload)
	if err != nil {
		return nil, s.advise(ctx, err, q.On)
	}
	return &CallResult{
		Kind: "CallResult", APIVersion: APIVersion, Function: q.Function, On: q.On, TookUS: time.Since(begun).Microseconds(), Result: out,
	}, nil
}

// write hands the body to a connection.
func (s *Server) write(ctx context.Context, r *http.Request) (any, error) {
	data, err := readBody(r)
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: "reading what is to be written: " + err.Error()}
	}
	return s.order(ctx, r, len(data), func(t *cluster.RemoteTransport) error {
		if err := t.WriteWait(ctx, data); err != nil {
			return err
		}
		return t.Drain(ctx)
	})
}

// close closes a connection, or aborts it.
func (s *Server) close(ctx context.Context, r *http.Request) (any, error) {
	return s.order(ctx, r, 0, func(t *cluster.RemoteTransport) error {
		if r.URL.Query().Get("abort") == "true" {
			t.Abort()
		} else {
			t.Close()
		}
		return nil
	})
}

func (s *Server) order(ctx context.Context, r *http.Request, size int, do func(*cluster.RemoteTransport) error) (any, error) {
	id := r.URL.Query().Get("id")
	t, err := s.node.Transport(ctx, id)
	if err == nil {
		err = do(t)
		t.Detach() // after Close or Abort it does nothing
	}
	if err != nil {
		return nil, s.advise(ctx, err, id)
	}
	return &Done{Kind: "Done", APIVersion: APIVersion, ID: id, Bytes: size}, nil
}

func readBody(r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
}

// advise adds what would have been right to an error about a target.
func (s *Server) advise(ctx context.Context, err error, target string) error {
	e := asError(err)
	switch {
	case e.Hint != "":
	case errors.Is(err, cluster.ErrUnknownNode):
		e.Hint = "nodes: " + strings.Join(s.names(), ", ")
	case errors.Is(err, actors.ErrBadAddress):
		e.Hint = "write node/loop, for example " + s.node.Name() + "/" + LoopName + `; "loopmesh loop ls" lists them`
	case errors.Is(err, cluster.ErrUnknownLoop):
		e.Hint = s.known(ctx, target, "loops", func(r nodeReport) []string { return r.Loops })
	case errors.Is(err, cluster.ErrUnknownFunction):
		e.Hint = s.known(ctx, target, "functions", func(r nodeReport) (names []string) {
			for _, f := range r.Functions {
				if !strings.HasPrefix(f.Name, internalPrefix) {
					names = append(names, f.Name)
				}
			}
			return names
		})
	case errors.Is(err, cluster.ErrUnknownTransport):
		e.Hint = `it may have ended; "loopmesh conn ls" lists those that live`
	}
	return e
}

func (s *Server) names() (names []string) {
	for _, m := range s.node.Members() {
		names = append(names, m.Name)
	}
	return names
}

// known asks the node of target what it has.
func (s *Server) known(ctx context.Context, target, what string, pick func(nodeReport) []string) string {
	node, _, _ := strings.Cut(target, "/")
	node, _, _ = strings.Cut(node, "@")
	r, _, err := ask(ctx, s, askNode, node+"/"+LoopName, struct{}{})
	if err != nil {
		return ""
	}
	return what + " of " + node + ": " + strings.Join(pick(r), ", ")
}
