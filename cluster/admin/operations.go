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

// What changes something: a call of a function, a write to a connection, its end. The
// node that is asked is only the way there: it does in the command's place what a
// program on it could do, with the rights of that node, and the target may be
// anywhere in the cluster. An operation whose answer does not come in time may have
// been carried out or not; the kinds TimedOut and Unreachable mean exactly that.

// maxBody bounds what a request may carry, so that a client cannot fill the node's
// memory; a node's MaxPayload, which is lower, gives the telling error.
const maxBody = 8 << 20

// call runs a function by name, with its argument as JSON. TookUS is the time that
// the caller waits at this node for the result.
func (s *Server) call(ctx context.Context, r *http.Request) (any, error) {
	var q CallRequest
	body, err := readBody(r)
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: "the request is not a call: " + err.Error(), Hint: `send {"function": NAME, "on": "node/loop", "payload": JSON}`}
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

// write hands the body to a connection and waits until the connection has taken it:
// WriteWait alone would answer while the bytes are still on their way to another
// node.
func (s *Server) write(ctx context.Context, r *http.Request) (any, error) {
	data, err := readBody(r)
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: "reading what is to be written: " + err.Error()}
	}
	return s.onConnection(ctx, r, len(data), func(t *cluster.RemoteTransport) error {
		if err := t.WriteWait(ctx, data); err != nil {
			return err
		}
		return t.Drain(ctx)
	})
}

// close closes a connection behind what was written, or aborts it. Neither waits for
// the end; the answer says that the order was given.
func (s *Server) close(ctx context.Context, r *http.Request) (any, error) {
	return s.onConnection(ctx, r, 0, func(t *cluster.RemoteTransport) error {
		if r.URL.Query().Get("abort") == "true" {
			t.Abort()
		} else {
			t.Close()
		}
		s.note(Event{Code: codeConnClosed, Subject: r.URL.Query().Get("id"), Text: "asked to close", Why: r.URL.Query().Get("reason")})
		return nil
	})
}

// onConnection opens a stream to the connection that ?id= names, lets do use it, and
// detaches, which leaves the connection as it is.
func (s *Server) onConnection(ctx context.Context, r *http.Request, size int, do func(*cluster.RemoteTransport) error) (any, error) {
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

// readBody reads a request's body, whole or not at all.
func readBody(r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
}

// advise adds what would have been right to an error about a target: the nodes, loops
// or functions that there are. A user who mistyped a name sees it among the others.
func (s *Server) advise(ctx context.Context, err error, target string) error {
	e := asError(err)
	switch {
	case e.Hint != "":
	case errors.Is(err, cluster.ErrUnknownNode):
		e.Hint = "nodes: " + strings.Join(s.memberNames(), ", ")
	case errors.Is(err, actors.ErrBadAddress):
		e.Hint = "write node/loop, for example " + s.node.Name() + "/" + LoopName + `; "loopmesh loop ls" lists them`
	case errors.Is(err, cluster.ErrUnknownLoop):
		e.Hint = s.namesOn(ctx, target, "loops", func(r nodeReport) []string { return r.Loops })
	case errors.Is(err, cluster.ErrUnknownFunction):
		e.Hint = s.namesOn(ctx, target, "functions", func(r nodeReport) (names []string) {
			for _, f := range r.Functions {
				if !isInternal(f.Name) {
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

// memberNames are the nodes that a target could have meant.
func (s *Server) memberNames() (names []string) {
	for _, m := range s.node.Members() {
		names = append(names, m.Name)
	}
	return names
}

// namesOn asks the node in target what it has, for a hint. It is a second question
// within the same deadline: without an answer there is no hint, and the first error
// stands.
func (s *Server) namesOn(ctx context.Context, target, what string, pick func(nodeReport) []string) string {
	node, _, _ := strings.Cut(target, "/")
	node, _, _ = strings.Cut(node, "@")
	r, _, err := ask(ctx, s, askNode, node+"/"+LoopName, struct{}{})
	if err != nil {
		return ""
	}
	return what + " of " + node + ": " + strings.Join(pick(r), ", ")
}
