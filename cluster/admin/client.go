package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// The side of the commands. A client trusts nobody by default: it sends nothing
// before it knows that the socket is its own user's or root's (socket.go), since what
// it sends may be a function's arguments.
//
// Two time-outs meet here. The client's ctx bounds the whole command; the node gets a
// little less (margin) as ?timeout=, so that the node's answer, which says who was
// silent, arrives before the client gives up with nothing.

// Client asks one node, by the path of its socket or by its address. Safe from any goroutine; close it.
// Connections are kept between requests, so two questions of one command cost one
// connection.
type Client struct {
	path string // of the socket, or the address, for people
	base string // what URLs begin with
	http *http.Client
}

// NewClient returns a client for the socket at path. It connects with the first
// request, and then only to a server of this user or of root: ErrUntrusted.
func NewClient(path string) *Client {
	return &Client{path, "http://" + hostName, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, path) },
	}}}
}

// dial connects to the socket at path and makes sure, before anything is sent, that
// it is not another user's: first the folder, which may not be writable for others,
// then the process that listens, which the kernel names. A path that does not exist
// is left to connect, whose error says so.
func dial(ctx context.Context, path string) (net.Conn, error) {
	if _, err := os.Lstat(path); err == nil {
		if err := checkFolder(filepath.Dir(path)); err != nil {
			return nil, err
		}
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := checkServer(path, c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Path is the path of its socket, or its address.
func (c *Client) Path() string { return c.path }

// Close ends the connections that wait for a next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Self asks who answers.
func (c *Client) Self(ctx context.Context) (*Self, error) { return get[Self](ctx, c, "self") }

// Nodes lists the nodes of the cluster.
func (c *Client) Nodes(ctx context.Context) (*List[Node], error) {
	return get[List[Node]](ctx, c, "nodes")
}

// Loops lists the loops of all nodes.
func (c *Client) Loops(ctx context.Context) (*List[Loop], error) {
	return get[List[Loop]](ctx, c, "loops")
}

// Conns lists the connections of all nodes.
func (c *Client) Conns(ctx context.Context) (*List[Conn], error) {
	return get[List[Conn]](ctx, c, "conns")
}

// Funcs lists the functions of all nodes.
func (c *Client) Funcs(ctx context.Context) (*List[Func], error) {
	return get[List[Func]](ctx, c, "funcs")
}

// Call runs a function and waits for its result.
func (c *Client) Call(ctx context.Context, q CallRequest) (*CallResult, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: err.Error()}
	}
	return send[CallResult](ctx, c, http.MethodPost, "call", nil, body)
}

// Write hands data to a connection of any node; done means that it is in the
// connection's write buffer.
func (c *Client) Write(ctx context.Context, id string, data []byte) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "conns/write", url.Values{"id": {id}}, data)
}

// CloseConn closes a connection after what was written, or at once with abort. reason is
// for the events.
func (c *Client) CloseConn(ctx context.Context, id string, abort bool, reason string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "conns/close", url.Values{"id": {id}, "abort": {fmt.Sprint(abort)}, "reason": {reason}}, nil)
}

func get[T any](ctx context.Context, c *Client, what string) (*T, error) {
	return send[T](ctx, c, http.MethodGet, what, nil, nil)
}

// Metrics are the metrics of the node that is asked, as Prometheus reads them.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/metrics", nil)
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: err.Error()}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, c.refusal(resp.Status, text)
	}
	return text, nil
}

// margin is what a node has less than its client, so that its answer, which
// knows more, arrives before the client gives up.
const margin = 50 * time.Millisecond

// untilMargin is the time-out to give a node when the client's ends at that time.
func untilMargin(at time.Time) time.Duration { return max(time.Until(at)-margin, time.Millisecond) }

// hostName stands where a URL has a host: the socket decides who is reached.
const hostName = "localhost"

// maxAnswer bounds what a client reads: whatever listens at the path could send for
// ever.
const maxAnswer = 256 << 20

// send puts one request and reads its answer as a T. The host in the URL is made up:
// the path of the socket decides who is reached.
func send[T any](ctx context.Context, c *Client, method, what string, query url.Values, body []byte) (*T, error) {
	if query == nil {
		query = url.Values{}
	}
	if at, ok := ctx.Deadline(); ok {
		query.Set("timeout", untilMargin(at).String())
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+"/api/v1/"+what+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: err.Error()}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, c.refusal(resp.Status, text)
	}
	out := new(T)
	if err := json.Unmarshal(text, out); err != nil {
		return nil, &Error{Kind: Failed, Message: fmt.Sprintf("the answer from %s is not understood: %v", c.path, err), Hint: "is the node of another version?"}
	}
	return out, nil
}

// unreachable says what kept a question from being answered. url.Error is taken off:
// it would print the URL, whose host is made up.
func (c *Client) unreachable(err error) *Error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.Is(err, ErrUntrusted):
		return &Error{Kind: Refused, Message: err.Error(), Code: codeUntrusted}
	case errors.Is(err, context.Canceled):
		return &Error{Kind: Cancelled, Message: "interrupted"}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: TimedOut, Message: "no answer from the node at " + c.path + " in time", Hint: "give it more with --timeout"}
	}
	return &Error{Kind: Unreachable, Message: fmt.Sprintf("no node answers at %s: %v", c.path, err), Hint: `start one with "loopmesh start" or "loopmesh dev"`}
}

// refusal is the error that the node sent, or the HTTP status when the answer is not
// ours: something else listens there.
func (c *Client) refusal(status string, text []byte) *Error {
	var doc errorDocument
	if json.Unmarshal(text, &doc) != nil || doc.Error == nil {
		return &Error{Kind: Failed, Message: fmt.Sprintf("%s answers %s", c.path, status)}
	}
	return doc.Error
}
