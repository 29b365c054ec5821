package process

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/calls"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/streams"
)

// What travels. Everything but bytes is a call of one function for each profile, on the
// loop LoopName of the node that has the children: its name carries the profile, so the
// right spawn:PROFILE is checked from the frame before anything of it is read
// (cluster/rights.go). Bytes are streams of package streams, three for each process, opened
// under paths that only the other of the two nodes may open, once. No kind of frame is new.
//
//	owner                                            node with the children
//	expects "$stdio/KEY/1" and "/2"
//	start(arguments, KEY) ─────────────────────────▶ opens both, starts the child,
//	opens "$stdio/…/0" ◀──────────── number, PID ─── expects the stream of its stdin
//	wait(number) ──────────────────────────────────▶ answers when the child has ended, or
//	wait(number) ──────────────────────────────────▶ after ten seconds: ask again
//
// A wait that is asked again and again is also the sign of life of the owner: its program
// may have lost the answer to start, and then nobody would ever end the child.

// LoopName is the loop of a node that has the children of its profiles.
const LoopName = "proc"

// The operations.
const (
	opStart  = "start"
	opAttach = "attach"
	opWait   = "wait"
	opSignal = "signal"
	opClose  = "close"
	opDetach = "detach"
)

// request is what the function of a profile takes. Fields of other operations are zero.
type request struct {
	Op string `json:"op"`
	ID uint64 `json:"id,omitempty"` // of the process; of opStart: 0

	Args    map[string]string `json:"args,omitempty"`
	Words   []string          `json:"words,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	NoStdin bool              `json:"no_stdin,omitempty"`
	Key     string            `json:"key,omitempty"` // of the streams that the owner expects, and of its handle from then on

	Signal int `json:"signal,omitempty"`
}

// answer is what it returns.
type answer struct {
	ID     uint64    `json:"id"`
	PID    int       `json:"pid"`
	Life   uint64    `json:"life,omitempty"`  // incarnation of the node
	Stdin  string    `json:"stdin,omitempty"` // path of the stream; "" for none
	Missed [2]uint64 `json:"missed"`          // bytes of stdout and stderr that an Attach came too late for
	Cut    [2]bool   `json:"cut"`             // their streams are over, and the owner may not have heard it
	Kept   bool      `json:"kept,omitempty"`  // of opDetach: it runs on
	Exit   *Exit     `json:"exit,omitempty"`  // nil: it runs
}

// Paths of streams. KEY is drawn by the owner; stdin has the number of the process, which
// is its node's.
func outputPath(key string, fd int) string {
	return streams.Reserved + "stdio/" + key + "/" + strconv.Itoa(fd)
}

func stdinPath(id uint64) string {
	return streams.Reserved + "stdio/" + strconv.FormatUint(id, 10) + "/0"
}

// functions are the profiles that have their function already. Why one table for the
// process: functions are registered for all of its nodes, and each node looks into its own
// profiles (serve).
var functions = struct {
	mu    sync.Mutex
	names map[string]bool
}{names: map[string]bool{}}

// register makes the function of a profile callable.
func register(profile string) {
	functions.mu.Lock()
	defer functions.mu.Unlock()
	if functions.names[profile] {
		return
	}
	functions.names[profile] = true
	cluster.Func(registry.SpawnPrefix+profile, func(ctx context.Context, q request) (answer, error) {
		return serve(ctx, profile, q)
	})
}

// serve carries out an operation for another node, or for this one. It runs as a task on
// the loop of the children. A call without an answer is refused: nobody would hear of the
// process.
func serve(ctx context.Context, name string, q request) (answer, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return answer{}, cluster.ErrNoNode
	}
	h, p := hostOf(node).find(name)
	c := h.children[q.ID]
	if p == nil && (q.Op == opStart || c == nil) { // one that runs has its owner, whatever is offered now
		return answer{}, notOffered(node.Name(), name)
	}
	owner, waits := calls.Caller(ctx)
	if !waits {
		return answer{}, badArguments("a process needs a caller who waits for the answer")
	}
	if q.Op == opStart {
		return h.start(ctx, p, owner, q)
	}
	if c == nil || c.profile.Name != name {
		return answer{}, fmt.Errorf("%w: %s/%d on node %s; it may have ended long ago", ErrUnknownProcess, name, q.ID, node.Name())
	}
	switch q.Op {
	case opAttach:
		return c.attach(ctx, owner, q)
	case opWait:
		return c.wait(ctx, owner, q.Key)
	case opSignal:
		return answer{ID: c.id}, c.order(q.Signal)
	case opClose:
		c.end("its owner closed it")
		return answer{ID: c.id}, nil
	case opDetach:
		if c.has(owner, q.Key) { // asked once more, it may be somebody else's by now
			c.orphan("its owner let it go")
		}
		return answer{ID: c.id, Kept: c.profile.Orphan == Keep}, nil
	}
	return answer{}, badArguments("there is no operation %q", q.Op)
}

// hostOf is the host of a node; it has no profiles until Offer.
func hostOf(n *cluster.Node) *host {
	parts := n.Inside(inside.Key{})
	return inside.Shared(parts, hostKey{}, func() *host { return newHost(n, parts) })
}

type hostKey struct{}
