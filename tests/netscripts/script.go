package netscripts

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// op is one thing an end does.
type op uint8

const (
	write  op = iota // n bytes
	lines            // n bytes in pieces
	remote           // n bytes through the Ref
	file             // n bytes by Sendfile
	turn             // let a turn pass
	nap              // let n times 100 µs pass
	rest             // pause reading
	resume           // resume reading
	drain            // wait until writing is not paused
	// The last op of an end.
	wait      // for the other end
	endOutput // half-close; with TLS the end of both directions
	closeIt   // the whole connection, at once
	reset     // drop what waits
	opCount
)

var opNames = [opCount]string{"write", "lines", "remote", "file", "turn", "nap", "rest", "resume", "drain", "wait", "endOutput", "closeIt", "reset"}

type step struct {
	do op
	n  int
}

// script is what happens on one connection. Everything in it comes from the seed.
type script struct {
	seed     uint64
	network  string // tcp or unix
	tls      bool
	server   bool // the transport is the accepted end
	buffered bool // its protocol brings its own memory
	gather   bool // it gathers what is written in a turn
	keep     bool // what EOFReceived returns
	high     int  // its high mark
	slow     int  // the other end naps that often: every slow-th read; 0 never
	ours     []step
	theirs   []step
}

// newScript draws a script.
func newScript(seed uint64) *script {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &script{seed: seed, network: "tcp", tls: r.IntN(3) == 0, server: r.IntN(2) == 0, buffered: r.IntN(4) == 0, gather: r.IntN(4) == 0, keep: r.IntN(2) == 0}
	if r.IntN(3) == 0 {
		s.network = "unix"
	}
	s.high = []int{0, 1 << 10, 64 << 10, 512 << 10}[r.IntN(4)]
	s.slow = []int{0, 0, 2, 10}[r.IntN(4)]
	for range r.IntN(12) {
		do := op(r.IntN(int(wait)))
		s.ours = append(s.ours, step{do, amount(r, do)})
	}
	for range r.IntN(8) {
		do := []op{write, write, nap}[r.IntN(3)]
		s.theirs = append(s.theirs, step{do, amount(r, do)})
	}
	our, their := wait, wait
	for our == wait && their == wait {
		our, their = wait+op(r.IntN(4)), wait+op(r.IntN(4))
	}
	s.ours, s.theirs = append(s.ours, step{do: our}), append(s.theirs, step{do: their})
	return s
}

func amount(r *rand.Rand, do op) int {
	switch {
	case do == nap:
		return 1 + r.IntN(20)
	case do > file:
		return 0
	case r.IntN(3) == 0:
		return 1 + r.IntN(300<<10)
	default:
		return 1 + r.IntN(2000)
	}
}

func last(steps []step) op { return steps[len(steps)-1].do }

// outputArrives: everything that the transport has taken reaches the other end.
func (s *script) outputArrives() bool {
	if their := last(s.theirs); their == closeIt || their == reset {
		return false
	}
	switch last(s.ours) {
	case reset:
		return false
	case closeIt: // input that nobody reads makes the kernel reset the connection
		return s.tls || !s.sends()
	default:
		return true
	}
}

// sends reports whether the other end sends anything.
func (s *script) sends() bool {
	for _, st := range s.theirs {
		if st.do == write {
			return true
		}
	}
	return false
}

// inputArrives: everything that the other end has sent reaches the protocol.
func (s *script) inputArrives() bool {
	if their := last(s.theirs); their == closeIt || their == reset {
		return false
	}
	our := last(s.ours)
	return our == wait || our == endOutput && !s.tls
}

// inOrder: nothing ends the connection but the wish of the two ends.
func (s *script) inOrder() bool {
	their := last(s.theirs)
	return their != closeIt && their != reset
}

func (s *script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %s tls=%v server=%v buffered=%v gather=%v keep=%v high=%d slow=%d", s.seed, s.network, s.tls, s.server, s.buffered, s.gather, s.keep, s.high, s.slow)
	for i, steps := range [][]step{s.ours, s.theirs} {
		b.WriteString([]string{"\n  transport:", "\n  net:"}[i])
		for _, st := range steps {
			fmt.Fprintf(&b, " %s", opNames[st.do])
			if st.n > 0 {
				fmt.Fprintf(&b, "(%d)", st.n)
			}
		}
	}
	return b.String()
}

// flow is the bytes of one direction: everybody can tell which byte comes at which
// place, so that one that is lost, doubled or in the wrong place is found.
type flow struct{ at int }

const block = 65521 // a prime: no buffer's size divides it

var bytesOf = func() []byte {
	b := make([]byte, 2*block)
	r := rand.New(rand.NewPCG(7, 7))
	for i := range block {
		b[i] = byte(r.UintN(256))
	}
	copy(b[block:], b[:block])
	return b
}()

// next are the following n bytes.
func (f *flow) next(n int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		from := (f.at + len(b)) % block
		b = append(b, bytesOf[from:from+min(n-len(b), block)]...)
	}
	f.at += n
	return b
}
