package cluster

import (
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/flows"
)

// The errors of this package, to be tested with errors.Is. They mean the same on
// the calling node as on the node that raised them.
var (
	// ErrConfig is what Start returns for a Config that cannot work, and other calls for
	// an argument that cannot.
	ErrConfig = fault.ErrConfig
	// ErrUnknownNode: no node of that name is in the cluster.
	ErrUnknownNode = fault.ErrUnknownNode
	// ErrUnknownLoop: the node has no loop of that name.
	ErrUnknownLoop = fault.ErrUnknownLoop
	// ErrUnknownFunction: the node's program registers no function of that name.
	ErrUnknownFunction = fault.ErrUnknownFunction
	// ErrUnknownMessage: the type of a message between actors is not registered.
	ErrUnknownMessage = fault.ErrUnknownMessage
	// ErrUnknownTransport: the node has no connection under that path.
	ErrUnknownTransport = fault.ErrUnknownTransport
	// ErrDeadIncarnation: the address is of an earlier incarnation of the node, which has
	// ended.
	ErrDeadIncarnation = fault.ErrDeadIncarnation
	// ErrExpired: the deadline passed before a result was there. Also
	// context.DeadlineExceeded.
	ErrExpired = fault.ErrExpired
	// ErrBadPayload: the arguments or the result do not fit the types of the
	// function as the other side knows it.
	ErrBadPayload = fault.ErrBadPayload
	// ErrTooLarge: arguments or result are above Config.MaxPayload.
	ErrTooLarge = fault.ErrTooLarge
	// ErrPanic: the function panicked. Only the text of the panic travels.
	ErrPanic = fault.ErrPanic
	// ErrCancelled: the function's task was cancelled on its node.
	ErrCancelled = fault.ErrCancelled
	// ErrBusy: the loop has as many unfinished calls as it may (Config.MaxInbound), or the
	// node as many calls for later, watches or streams.
	ErrBusy = fault.ErrBusy
	// ErrClosed: the loop is closed, or the node is leaving. Calls that run on a loop
	// made by NewLoop when it or its node is closed end with it at once, and their
	// tasks are cancelled; a call that arrives later ends with ErrUnknownLoop,
	// ErrUnknownNode or ErrNodeDown. Also how a RemoteTransport ends whose connection was
	// closed here, by its peer, or by the program of its node.
	ErrClosed = fault.ErrClosed
	// ErrRefused: not allowed on that node.
	ErrRefused = fault.ErrRefused
	// ErrNameTaken: another live node has this name.
	ErrNameTaken = fault.ErrNameTaken
	// ErrDisconnected: this node has no connection to NATS. A call that was under
	// way may have run.
	ErrDisconnected = fault.ErrDisconnected
	// ErrStaleAddress: the address means an earlier loop of that name.
	ErrStaleAddress = fault.ErrStaleAddress
	// ErrNoCredit: as much is under way to the loop or actor as may be; it does not
	// take it as fast as this node sends. Nothing was sent.
	ErrNoCredit = fault.ErrNoCredit
	// ErrLost: it left this node and never arrived. Reason of Loss.
	ErrLost = fault.ErrLost
	// ErrCutOff: Node.Stop ended calls of other nodes that had not ended by themselves.
	ErrCutOff = fault.ErrCutOff
	// ErrFenced: the node did not serve, because it could not reach the cluster for so
	// long that others may have given it up. Nothing ran.
	ErrFenced = fault.ErrFenced
	// ErrNoNode: no node carries the call: the process has none, or several and nothing
	// says which.
	ErrNoNode = fault.ErrNoNode

	// ErrNodeDown: the node died or left. Reason of Terminated, and how calls end
	// that were under way; they may have run.
	ErrNodeDown = fault.ErrNodeDown
	// ErrLoopDied: the loop failed. Reason of Terminated.
	ErrLoopDied = fault.ErrLoopDied
	// ErrStopped: the loop was closed on purpose. Reason of Terminated.
	ErrStopped = fault.ErrStopped

	// ErrDenied: the NATS server does not accept the node's keys.
	ErrDenied = engine.ErrDenied
	// ErrTooOld: the NATS server lacks what a node needs.
	ErrTooOld = engine.ErrTooOld
	// ErrSeparate: several addresses in Join or URL belong to servers that are not
	// connected to each other.
	ErrSeparate = engine.ErrSeparate
	// ErrStore: Config.StoreDir is in use, or belongs to another node or cluster.
	ErrStore = engine.ErrStore
	// ErrNoJetStream: JetStream is needed, and is off or not allowed.
	ErrNoJetStream = engine.ErrNoJetStream
	// ErrNoQuorum: JetStream did not answer: no majority of the voters can be reached, or
	// they have no leader.
	ErrNoQuorum = engine.ErrNoQuorum
)

// Loss says that calls without an answer, or messages of actors, that left this node
// did not run or may not have run, see Config.OnLoss. Its fields:
//
//	Target string // node/loop or node/actor
//	Count  uint64
//	Reason error // ErrLost, ErrNodeDown, or why the target's node refused the last one
type Loss = flows.Loss

// RemoteError is an error that came from another node, or that tells why the
// other node could not be asked. errors.Is finds the sentinel of its kind, and
// the registered error (RegisterError) the function returned. Its fields:
//
//	Target   string // node/loop, or node
//	Function string // "" when no function was involved
//	Message  string // what the other side said
type RemoteError = fault.RemoteError

// RegisterError makes errors.Is(err, target) work on the calling node when a
// function on another node returns target or wraps it. Both programs register
// it under the same name, usually in a package variable's place beside the error:
//
//	var ErrPoor = cluster.RegisterError("bank.poor", errors.New("not enough money"))
//
// It returns target and panics when the name is taken, like http.Handle.
func RegisterError(name string, target error) error { return fault.Register(name, target) }
