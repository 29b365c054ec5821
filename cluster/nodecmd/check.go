package nodecmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// What is wrong with a cluster, judged from what its nodes tell. Each judgement is a
// function from one look to findings, so each of them is tried in a test with a look in
// which that one thing is wrong; none of them asks anybody.
//
// Two levels. An error is something that does not work now, or will not at the next loss:
// a node is dead, a loop does not move, a stream has no leader. A warning is something that
// works and should not stay so: keys that expire in a week, a clock that is off.

// What is not judged? What a program alone can know: how many connections are too many, which
// name should be owned, how long a queue may be. Metrics and their alerts are for these. And
// nothing is judged over time: check keeps nothing between two runs, so a counter that grows
// is not seen here (events are noted by the nodes themselves).
// finding is one thing that is wrong.
type finding struct {
	// Node, loop, task or stream.
	ID    string `json:"id"`
	Level string `json:"level"`
	Code  string `json:"code"`
	Text  string `json:"text"`
	Do    string `json:"do"`
}

// Levels of a finding.
const (
	levelError = "error"
	levelWarn  = "warn"
)

// Codes of findings; admin.Explain has what to do about each.
const (
	codeSilent      = admin.CodePartial
	codeExpires     = "LM1812"
	codeDescriptors = "LM1813"
	codeBlocked     = "LM2101"
	codeLate        = "LM2106"
	codeCircle      = "LM2107"
	codeDeadLetter  = "LM3170"
	codeDeadTimer   = "LM3172"
	codeSuspect     = "LM4102"
	codeDead        = "LM4104"
	codeSkew        = "LM4109"
	codeVersions    = "LM4110"
	codeFewNodes    = "LM4111"
	codeNoNATS      = "LM7101"
	codeNoQuorum    = "LM7105"
	codeStream      = "LM7107"
	codeDisk        = "LM7108"
	codeVoter       = "LM7109"
)

// The advice comes from the table of codes, so that the page of check, 'explain' and the
// events say the same. The text is what only this finding knows.
// wrong makes a finding, with what its code says to do.
func wrong(level, code, id, format string, args ...any) finding {
	c, _ := admin.Explain(code) // TestEachFindingIsExplained
	return finding{ID: id, Level: level, Code: code, Text: fmt.Sprintf(format, args...), Do: c.Do}
}

// Limits are values of one run and belong to who asks: two who watch the same cluster may
// have different ones, and none of them is kept anywhere.
// limits are from where on something is a finding.
type limits struct {
	members int           // fewer that are ready are one; 0: any number
	lag     time.Duration // of a loop
	skew    time.Duration // of a clock
	expires time.Duration // before the end of keys
	free    uint64        // bytes on the disk of a store
	used    int           // percent of the descriptors
}

// Lists may be incomplete: a node that did not answer is missing in most of them. It is one
// finding, of judgeNodes, and the other judges see only who answered; they must not take an
// absent item for a good one, and none of them counts.
// look is what was asked. noStore says why there is no list of streams.
type look struct {
	nodes   admin.List[admin.Node]
	loops   admin.List[admin.Loop]
	tasks   admin.List[admin.Task]
	health  admin.List[admin.Health]
	streams admin.List[admin.Stream]
	noStore error
	// letters are the dead letters; lettersLate: their list did not come in time.
	letters     admin.List[admin.Command]
	lettersLate bool
}

// lookFor asks for everything. Whether there is a store, the answer to the question for
// its streams says: a cluster without one is complete, one whose store does not answer is
// not.
func lookFor(ctx context.Context, c *admin.Client) (*look, error) {
	l := &look{}
	_, err := together(
		take(&l.nodes, func() (*admin.List[admin.Node], error) { return c.Nodes(ctx) }),
		take(&l.health, func() (*admin.List[admin.Health], error) { return c.Health(ctx) }),
		func() ([]admin.Missing, error) {
			l.noStore = l.settle(ctx, c.Streams)
			if l.noStore == nil {
				l.readLetters(ctx, c.DeadLetters)
			}
			return nil, nil
		})
	if err == nil { // alone, since it measures
		_, err = together(take(&l.loops, func() (*admin.List[admin.Loop], error) { return c.MeasuredLoops(ctx, defaultMeasure) }))
	}
	if err == nil { // alone, since a question is a task
		_, err = together(take(&l.tasks, func() (*admin.List[admin.Task], error) { return c.Tasks(ctx, 1) }))
	}
	return l, err
}

// A new judgement is a function here and a row in the tests' table of faults; a code without a
// row there is noticed (TestEachFaultIsFound looks for exactly one finding for each).
// A stream that was just made, or whose leader has just moved, has none for a moment, and its
// copies are not current. Nobody should be woken for that, so what looks wrong is looked at
// again, and judged when it stays.
const (
	settleTimes = 3
	settlePause = 500 * time.Millisecond
)

// settle asks for the streams until nothing is wrong with them, some times, as far as ctx
// has time left for it and for the questions behind this one.
func (l *look) settle(ctx context.Context, question func(context.Context) (*admin.List[admin.Stream], error)) error {
	for n := 1; ; n++ {
		list, err := question(ctx)
		if err != nil {
			return err
		}
		l.streams = *list
		at, bounded := ctx.Deadline()
		if len(judgeStreams(l, limits{})) == 0 || n == settleTimes || bounded && time.Until(at) < 4*settlePause {
			return nil
		}
		pause := time.NewTimer(settlePause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil // with what was seen last
		}
	}
}

// judges are all that is judged. The order is that of the page.
var judges = []func(*look, limits) []finding{
	judgeNodes, judgeMembers, judgeLoops, judgeTasks, judgeVoters, judgeStreams, judgeLetters, judgeTimers, judgeDisks, judgeDescriptors, judgeKeys, judgeClocks, judgeVersions,
}

// judge gives everything that is wrong, errors first.
func judge(l *look, at limits) []finding {
	out := []finding{}
	for _, j := range judges {
		out = append(out, j(l, at)...)
	}
	slices.SortStableFunc(out, func(a, b finding) int { return cmp.Compare(a.Level, b.Level) }) // "error" is before "warn"
	return out
}

// judgeNodes: a member that is not ready. One that left on purpose is in no list.
func judgeNodes(l *look, _ limits) (out []finding) {
	for _, n := range l.nodes.Items {
		switch n.State {
		case admin.Ready:
		case admin.Dead:
			out = append(out, wrong(levelError, codeDead, n.ID, "is dead: %s", noteOf(n, l.nodes.Time)))
		case admin.Suspect:
			out = append(out, wrong(levelWarn, codeSuspect, n.ID, "may be gone: %s", noteOf(n, l.nodes.Time)))
		default:
			out = append(out, wrong(levelError, codeSilent, n.ID, "is a member and does not answer: %s", whyMissing(l.nodes.Partial, n.ID)))
		}
	}
	return out
}

// The reason that the asked node gives is kept: "deadline passed" is a node that is stuck,
// "nobody listens" one that is gone and not given up yet, "no admin API" one of a program that
// does not open it.
// whyMissing is what is said about one that did not answer.
func whyMissing(all []admin.Missing, id string) string {
	for _, m := range all {
		if m.ID == id {
			return m.Error.Message
		}
	}
	return "-"
}

// Why a number and not a list of names? Nodes that come and go have names of their own, and
// monitoring knows how many there have to be. Dead ones are named by judgeNodes anyway.
// judgeMembers counts who is ready.
func judgeMembers(l *look, at limits) []finding {
	if why := tooFew(&view{nodes: &l.nodes}, at.members); why != "" {
		return []finding{wrong(levelError, codeFewNodes, "cluster", "%s", why)}
	}
	return nil
}

// A blocked loop is an error and a late one a warning: the first serves nobody now, the second
// serves everybody later than it should.
// judgeLoops: a loop that is blocked, that does not answer, or that runs late. Silence of
// a whole node is the finding of judgeNodes, not one for each of its loops.
func judgeLoops(l *look, at limits) (out []finding) {
	blocked := map[string]bool{}
	for _, loop := range l.loops.Items {
		switch {
		case loop.State == admin.Blocked:
			blocked[loop.ID] = true
			out = append(out, wrong(levelError, codeBlocked, loop.ID, "a callback has not returned for %s: %s", age(time.Duration(loop.BlockedMS)*time.Millisecond), cmp.Or(loop.Frame, "-")))
		case loop.Measured == nil:
		default:
			if lag := time.Duration(loop.Measured.LagP99US) * time.Microsecond; lag > at.lag {
				out = append(out, wrong(levelWarn, codeLate, loop.ID, "runs %v late, the limit is %v", lag, at.lag))
			}
		}
	}
	for _, m := range l.loops.Partial {
		if strings.Contains(m.ID, "/") && !blocked[m.ID] {
			out = append(out, wrong(levelError, codeSilent, m.ID, "does not answer: %s", m.Error.Message))
		}
	}
	return out
}

// Which tasks wait for which is found out by their loop, at each question. Two loops whose
// tasks wait for each other through calls are not found here: those calls end by their
// deadlines.
// judgeTasks: tasks that wait for themselves, once for each loop.
func judgeTasks(l *look, _ limits) (out []finding) {
	in := map[string][]string{}
	var loops []string
	for _, t := range l.tasks.Items {
		if !t.Circle {
			continue
		}
		loop := t.Node + "/" + t.Loop
		if in[loop] == nil {
			loops = append(loops, loop)
		}
		in[loop] = append(in[loop], t.ID+" ("+t.Name+")")
	}
	for _, loop := range loops {
		out = append(out, wrong(levelError, codeCircle, loop, "%s wait for each other: %s", plural(len(in[loop]), "task"), strings.Join(in[loop], ", ")))
	}
	return out
}

// Each node tells what its own server sees, since in a partition they see different things,
// and that is what has to be found. A node without a server tells what the one that it uses
// reports; an external NATS tells nobody how many servers it has (0), and judges itself.
// judgeVoters: no majority, or fewer voters than there should be, as each node sees it.
func judgeVoters(l *look, _ limits) (out []finding) {
	for _, h := range l.health.Items {
		connected := fmt.Sprintf("%d of %d voters are connected (%s)", len(h.VotersConnected), h.Voters, joinOrNone(h.VotersConnected))
		switch {
		case !h.Connected:
			out = append(out, wrong(levelError, codeNoNATS, h.ID, "has no connection to NATS"))
		case h.Voters == 0 || len(h.VotersConnected) >= h.Voters:
		case 2*len(h.VotersConnected) <= h.Voters:
			out = append(out, wrong(levelError, codeNoQuorum, h.ID, "%s: no majority", connected))
		default:
			out = append(out, wrong(levelWarn, codeVoter, h.ID, "%s", connected))
		}
	}
	return out
}

// How far a copy may be behind is not judged by a number of operations: under load some
// hundred are normal for a moment. That the leader calls it current is.
// silentCopy is from when on a follower is not heard of: its leader hears of it several
// times a second.
const silentCopy = 10 * time.Second

// judgeStreams: a stream without a leader, and copies that are gone or behind.
func judgeStreams(l *look, _ limits) (out []finding) {
	if l.noStore != nil && !noStoreAtAll(l.noStore) {
		return []finding{wrong(levelError, codeNoQuorum, "store", "the store does not answer: %v", l.noStore)}
	}
	for _, s := range l.streams.Items {
		if s.Leader == "" {
			out = append(out, wrong(levelError, codeStream, s.ID, "has no leader: nothing durable is written to it"))
		}
		for _, f := range s.Followers {
			switch silent := time.Duration(f.SilentUS) * time.Microsecond; {
			case f.Offline:
				out = append(out, wrong(levelWarn, codeStream, s.ID, "its copy on %s is offline", f.Server))
			case silent > silentCopy:
				out = append(out, wrong(levelWarn, codeStream, s.ID, "its copy on %s was last heard of %s ago", f.Server, age(silent)))
			case !f.Current:
				out = append(out, wrong(levelWarn, codeStream, s.ID, "its copy on %s is not up to date, by %s", f.Server, plural(int(f.Lag), "operation")))
			}
		}
	}
	return out
}

// A cluster without a store folder is what 'start' makes without --store, so it is no finding.
// The same error on a cluster whose names somebody uses is met by whoever uses them.
// noStoreAtAll reports whether the cluster was made without a store, which is no fault.
func noStoreAtAll(err error) bool {
	var e *admin.Error
	return errors.As(err, &e) && e.Code == admin.CodeNoJetStream
}

// A full disk stops the server's writing until there is room, and the node says so in its log
// once. The limit comes long before: a store that needs a gigabyte at night needs it at once.
// judgeDisks: little room for a store, or none.
func judgeDisks(l *look, at limits) (out []finding) {
	for _, h := range l.health.Items {
		switch {
		case h.Store == "":
		case h.StoreStopped:
			out = append(out, wrong(levelError, codeDisk, h.ID, "writes nothing durable: the disk of %s was full, %s are free", h.Store, byteSize(h.StoreFreeBytes)))
		case h.StoreFreeBytes < at.free:
			out = append(out, wrong(levelWarn, codeDisk, h.ID, "%s are free on the disk of %s, the limit is %s", byteSize(h.StoreFreeBytes), h.Store, byteSize(at.free)))
		}
	}
	return out
}

// At the limit a node goes on serving who is connected and takes nobody new. Nothing fails
// loudly, so a check has to say it. Several nodes of one process share the number.
// judgeDescriptors: a process near its limit of open files.
func judgeDescriptors(l *look, at limits) (out []finding) {
	for _, h := range l.health.Items {
		if h.DescriptorsMost > 0 && 100*h.Descriptors >= at.used*h.DescriptorsMost {
			out = append(out, wrong(levelWarn, codeDescriptors, h.ID, "has %d of %d descriptors open", h.Descriptors, h.DescriptorsMost))
		}
	}
	return out
}

// Keys and certificate are made together and end together, as long as nobody mixes folders; so
// both are looked at, and each has its own line.
// judgeKeys: what ends soon. Who has ended is refused by the servers at its next connection.
func judgeKeys(l *look, at limits) (out []finding) {
	for _, h := range l.health.Items {
		for what, ends := range map[string]time.Time{"its keys": h.KeysExpire, "its certificate": h.CertificateExpire} {
			if ends.IsZero() {
				continue
			}
			if level, text := endsSoon(ends.Sub(l.health.Time), at.expires); level != "" {
				out = append(out, wrong(level, codeExpires, h.ID, "%s %s, on %s", what, text, ends.Format(time.DateOnly)))
			}
		}
	}
	slices.SortFunc(out, func(a, b finding) int { return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Text, b.Text)) })
	return out
}

// What has expired is an error even though the node may still be connected: servers look at
// the keys when a connection is made, and the next one will be refused.
// endsSoon judges what has so much time left.
func endsSoon(left, limit time.Duration) (level, text string) {
	switch {
	case left <= 0:
		return levelError, "expired " + age(-left) + " ago"
	case left < limit:
		return levelWarn, "expire in " + age(left)
	}
	return "", ""
}

// What the question took is subtracted: an answer that was under way for two seconds proves
// nothing about a clock that seems to be one second off.
// judgeClocks: a clock that differs by more than the limit, whatever the question took.
func judgeClocks(l *look, at limits) (out []finding) {
	for _, h := range l.health.Items {
		ahead, within := time.Duration(h.ClockAheadUS)*time.Microsecond, time.Duration(h.ClockWithinUS)*time.Microsecond
		if ahead.Abs()-within > at.skew {
			word := "ahead of"
			if ahead < 0 {
				word = "behind"
			}
			out = append(out, wrong(levelWarn, codeSkew, h.ID, "its clock is %v %s that of the node that was asked", ahead.Abs().Round(time.Millisecond), word))
		}
	}
	return out
}

// Nodes of two versions work together as long as an upgrade takes; what one of them does not
// know yet the others cannot use. A week of it is a machine that somebody forgot.
// judgeVersions: nodes that run different versions. A program built from a checkout has no
// version, and two of them may differ all the same: nothing is known then.
func judgeVersions(l *look, _ limits) []finding {
	by := map[string][]string{}
	var versions []string
	for _, h := range l.health.Items {
		if by[h.Version] == nil {
			versions = append(versions, h.Version)
		}
		by[h.Version] = append(by[h.Version], h.ID)
	}
	if len(versions) < 2 {
		return nil
	}
	var parts []string
	for _, v := range versions {
		parts = append(parts, strings.Join(by[v], ", ")+" run "+v)
	}
	return []finding{wrong(levelWarn, codeVersions, "cluster", "%s", strings.Join(parts, "; "))}
}

// Sizes of disks and files are read by people here; documents have the bytes.
// byteSize writes a number of bytes for people.
func byteSize(n uint64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), 0
	for value >= 1<<10 && unit < len(units)-1 {
		value, unit = value/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}
