package admin

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Profiles of a node that runs, for go tool pprof: where the processor's time goes, what
// holds memory, where goroutines are. Tasks carry their names as labels, so a CPU profile
// tells the time of each task, too.
//
// What does it cost the node? A CPU profile interrupts the process a hundred times a second
// while it runs; heap and goroutines stop it for some milliseconds; mutex and block count
// every so many waits while they run, and nothing afterwards. One at a time for each
// process: Go has one CPU profile, and two persons who look at once would each see the
// other. It takes the right "admin": stacks tell what a program does.

// Profile is what was found, as pprof reads it (stacks: as text, with gzip).
type Profile struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	// The node.
	ID string `json:"id"`
	// Cpu, heap and so on.
	Of string `json:"of"`
	// In base64.
	Data []byte `json:"data"`
}

// ProfileKinds are what Client.Profile can ask for.
func ProfileKinds() []string {
	return []string{"cpu", "heap", "allocs", "goroutine", "mutex", "block", profileStacks}
}

// profileStacks is the stacks of all goroutines as text.
const profileStacks = "stacks"

// Bounds of a profile, and how many waits of mutex and block are counted.
const (
	usualProfile  = 10 * time.Second
	maxProfile    = 60 * time.Second
	mutexFraction = 5      // one of so many
	blockRate     = 10_000 // nanoseconds waited for each that is counted
)

// Why whole and not as a stream: a profile of a minute has some hundred kilobytes, and fits into
// one answer. One that does not is refused with its size, before it is sent; half a profile
// could not be read by anybody.
// profileOrder is what the function below takes.
type profileOrder struct {
	Of     string `json:"of"`
	Millis int64  `json:"millis"`
}

// profiling is set while a profile of this process is made.
var profiling atomic.Bool

// profileAnswer is what it answers. An error of a function reaches its caller as text; what
// a person can do something about travels as a value.
type profileAnswer struct {
	Data  []byte `json:"data"`
	Wrong *Error `json:"wrong"`
}

// takeProfile makes a profile of the process of the node; it runs on the loop LoopName and
// works on a thread, since a profile is written for some milliseconds.
var takeProfile = cluster.Func(registry.OrderPrefix+"profile", func(ctx context.Context, o profileOrder) (a profileAnswer, err error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return a, cluster.ErrNoNode
	}
	if !profiling.CompareAndSwap(false, true) {
		a.Wrong = &Error{Kind: Refused, Message: "another profile of this process is being made", Hint: "wait for it: it takes a minute at most", Code: codeBusy}
		return a, nil
	}
	defer profiling.Store(false)
	if s, ok := servers.Load(node); ok {
		s.(*Server).note(Event{Code: codeProfiled, Subject: node.Name(), Text: "profile of " + o.Of})
	}
	a.Data, err = loopnode.ToThread(ctx, func(ctx context.Context) ([]byte, error) {
		return profileOf(ctx, o.Of, min(time.Duration(o.Millis)*time.Millisecond, maxProfile))
	})
	if most := node.Inside(inside.Key{}).MaxPayload; err == nil && len(a.Data) > most*9/10 {
		a.Wrong = &Error{
			Kind: BadRequest, Message: fmt.Sprintf("the profile has %d bytes, and an answer of this node at most %d", len(a.Data), most),
			Hint: "take a shorter one, or raise Config.MaxPayload", Code: codeTooLarge,
		}
		a.Data = nil
	}
	return a, err
})

// The rates of mutex and block profiles belong to the process, and the program may have set
// them: that of mutexes is put back as it was; that of block cannot be read, so it is switched
// off, which is Go's own default.
// profileOf makes one. It waits for those kinds that are measured over a time.
func profileOf(ctx context.Context, of string, d time.Duration) ([]byte, error) {
	var out bytes.Buffer
	switch of {
	case "cpu":
		if err := pprof.StartCPUProfile(&out); err != nil {
			return nil, fmt.Errorf("%w: the program makes a profile itself: %w", cluster.ErrBusy, err)
		}
		err := pause(ctx, d)
		pprof.StopCPUProfile()
		return out.Bytes(), err
	case "mutex":
		before := runtime.SetMutexProfileFraction(mutexFraction)
		defer runtime.SetMutexProfileFraction(before)
	case "block":
		runtime.SetBlockProfileRate(blockRate)
		defer runtime.SetBlockProfileRate(0)
	case profileStacks:
		zip := gzip.NewWriter(&out)
		err := errors.Join(pprof.Lookup("goroutine").WriteTo(zip, 1), zip.Close())
		return out.Bytes(), err
	}
	p := pprof.Lookup(of)
	if p == nil {
		return nil, &Error{Kind: BadRequest, Message: "there is no profile of " + strconv.Quote(of)}
	}
	if of == "mutex" || of == "block" {
		if err := pause(ctx, d); err != nil {
			return nil, err
		}
	}
	err := p.WriteTo(&out, 0)
	return out.Bytes(), err
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// The time is checked here and once more where it is measured: a node of another program may
// send the order without this route.
// profileRoute is the route of a profile: ?id=NODE&of=cpu&for=10s.
func (s *Server) profileRoute(ctx context.Context, r *http.Request) (any, error) {
	d, err := durationParam(r, "for", maxProfile)
	if err != nil {
		return nil, err
	}
	if d == 0 {
		d = usualProfile
	}
	of := r.URL.Query().Get("of")
	if !slices.Contains(ProfileKinds(), of) {
		return nil, &Error{Kind: BadRequest, Message: "there is no profile of " + strconv.Quote(of), Hint: fmt.Sprintf("there is %v", ProfileKinds())}
	}
	id, a, err := onNode(ctx, s, r, takeProfile, profileOrder{of, d.Milliseconds()})
	switch {
	case err != nil:
		return nil, err
	case a.Wrong != nil:
		return nil, a.Wrong
	}
	return &Profile{Kind: "Profile", APIVersion: APIVersion, ID: id, Of: of, Data: a.Data}, nil
}

// Profile makes a profile of the process of a node, see ProfileKinds. Those of cpu, mutex
// and block take d, a minute at most; ctx has to leave that time. Errors: kind Refused when
// another one is being made, or without the right "admin".
func (c *Client) Profile(ctx context.Context, node, of string, d time.Duration) (*Profile, error) {
	return send[Profile](ctx, c, http.MethodPost, "profile", url.Values{"id": {node}, "of": {of}, "for": {d.String()}}, nil)
}
