package transporttest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/loopmesh/loopmesh/transportactors"
)

// probe is a protocol that writes down its calls, holds them against the
// contract, and does what a check sets. Owned by the loop goroutine.
type probe struct {
	name string
	self transportactors.Protocol // itself, or what is built on it
	kind Kind
	t    transportactors.Transport

	log    []string
	data   []byte
	wrong  []string
	reason error
	ended  bool

	busy   bool // inside one of the calls
	acting bool // the check is inside a method of the transport
	deaf   bool // reading is paused, or the check closed the connection
	full   bool // told to stop writing

	onMade   func()
	onData   func(b []byte)
	onEOF    func() bool
	onPause  func()
	onResume func()
	onLost   func()
}

func (e *env) probe(name string) *probe {
	p := &probe{name: name, kind: e.kind}
	p.self = p
	e.probes = append(e.probes, p)
	return p
}

func (p *probe) logged(call string) bool { return slices.Contains(p.log, call) }

func (p *probe) blame(format string, args ...any) {
	p.wrong = append(p.wrong, p.name+": "+fmt.Sprintf(format, args...)+fmt.Sprintf(" (after %v)", tail(p.log)))
}

func tail(log []string) []string { return log[max(len(log)-8, 0):] }

// enter is the beginning of every call.
func (p *probe) enter(call string) (leave func()) {
	switch {
	case call != "made" && !p.logged("made"):
		p.blame("%s came before ConnectionMade", call)
	case call == "made" && len(p.log) > 0:
		p.blame("ConnectionMade came late")
	case p.ended:
		p.blame("%s came after ConnectionLost", call)
	case call == "data" && p.deaf:
		p.blame("bytes came while reading is paused or after the end")
	case (call == "data" || call == "eof") && p.logged("eof"):
		p.blame("%s came after the end of the input", call)
	case (p.busy || p.acting) && call != "pause":
		p.blame("%s came inside another call", call)
	}
	if call != "data" || len(p.log) == 0 || p.log[len(p.log)-1] != "data" {
		p.log = append(p.log, call) // runs of data count once
	}
	was := p.busy
	p.busy = true
	return func() { p.busy = was }
}

func do(fn func()) {
	if fn != nil {
		fn()
	}
}

// ConnectionMade keeps the transport.
func (p *probe) ConnectionMade(t transportactors.Transport) {
	defer p.enter("made")()
	p.t = t
	do(p.onMade)
}

// DataReceived keeps a copy.
func (p *probe) DataReceived(b []byte) {
	defer p.enter("data")()
	if len(b) == 0 {
		p.blame("DataReceived with nothing")
	}
	p.data = append(p.data, b...)
	if p.onData != nil {
		p.onData(b)
	}
}

// EOFReceived closes unless the check says otherwise.
func (p *probe) EOFReceived() bool {
	defer p.enter("eof")()
	return p.onEOF != nil && p.onEOF()
}

// PauseWriting comes in turn with ResumeWriting.
func (p *probe) PauseWriting() {
	defer p.enter("pause")()
	if p.full {
		p.blame("paused twice")
	}
	p.full = true
	do(p.onPause)
}

// ResumeWriting comes in turn with PauseWriting.
func (p *probe) ResumeWriting() {
	defer p.enter("resume")()
	if !p.full {
		p.blame("resumed and not paused")
	}
	p.full = false
	do(p.onResume)
}

// ConnectionLost is the last call.
func (p *probe) ConnectionLost(reason error) {
	defer p.enter("lost")()
	p.ended, p.reason = true, reason
	if !p.t.IsClosing() {
		p.blame("lost, and not closing")
	}
	do(p.onLost)
}

// act calls a method of the transport; only PauseWriting may come inside.
func (p *probe) act(fn func()) {
	was := p.acting
	p.acting = true
	defer func() { p.acting = was }()
	fn()
}

func (p *probe) write(b []byte) (err error) {
	p.act(func() { err = p.t.Write(b) })
	return err
}

func (p *probe) writelines(pieces [][]byte) (err error) {
	p.act(func() { err = p.t.Writelines(pieces) })
	return err
}

// read pauses or resumes reading.
func (p *probe) read(on bool) {
	if !p.t.IsClosing() {
		p.deaf = !on
	}
	p.act(func() {
		turn := p.t.PauseReading
		if on {
			turn = p.t.ResumeReading
		}
		if err := turn(); err != nil {
			p.blame("pausing or resuming: %v", err)
		}
	})
}

func (p *probe) close() {
	p.deaf = true
	p.act(p.t.Close)
}

func (p *probe) abort() {
	p.deaf = true
	p.act(p.t.Abort)
}

// got tells whether exactly want came.
func (p *probe) got(want []byte) error {
	if !bytes.Equal(p.data, want) {
		same := 0
		for same < min(len(p.data), len(want)) && p.data[same] == want[same] {
			same++
		}
		return fmt.Errorf("%s got %d bytes, %d as sent, of %d", p.name, len(p.data), same, len(want))
	}
	return nil
}

// heard tells whether the calls were these.
func (p *probe) heard(want ...string) error {
	got := p.log
	if p.kind.Goodbye {
		got, want = less(got, "eof"), less(want, "eof")
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s heard %v, not %v; reason %v", p.name, p.log, want, p.reason)
	}
	return nil
}

// less is log without one kind of call.
func less(log []string, call string) []string {
	return slices.DeleteFunc(slices.Clone(log), func(s string) bool { return s == call })
}
