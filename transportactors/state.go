package transportactors

// state is where the transport of a socket or a pipe is in its life. It only
// grows, and states may be left out. Owned by the loop goroutine.
//
//	open ──Close──► closing ──queue sent──► losing ──next turn──► ended
//	  │                │                      ▲                     ▲
//	  └────────────────┴──── Abort, Fail ─────┘                     │
//	  └──────────────────── the loop closes ────────────────────────┘
//
// Whether ConnectionMade was called (endpoint.told) is no state but a fact
// about the past: a protocol that has not heard of the beginning does not hear of
// the end. TLS over it has states of its own: tlsPhase.
type state uint8

const (
	stateOpen    state = iota // input and output
	stateClosing              // takes no output; sends its queue, or delivers its last input
	stateLosing               // nothing is queued or watched; ConnectionLost comes in the next turn
	stateEnded                // the protocol was told, and the descriptor is closed
)

// enter makes s the state, unless the transport is further already.
func (e *endpoint) enter(s state) { e.state = max(e.state, s) }
