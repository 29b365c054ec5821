package names

import (
	"errors"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/loopnode"
)

// TestAClaimerWaitsForAnOwnerThatIsBack: the owner was taken for dead, is back, and has looked
// at its name before the claimer wrote. The claimer acts only when the owner does not any
// more, although the owner is slow to hear of the record.
func TestAClaimerWaitsForAnOwnerThatIsBack(t *testing.T) {
	a, b := pair(t)
	usual(a, b)
	mine := mustClaim(t, a, "orders")
	mustClaim(t, b, "other")
	theirs, owner := roomOf(b), roomOf(a)
	theirs.covers = func(string, uint64, uint64) bool { return true }
	theirs.mu.Lock()
	theirs.table.dead["a"] = a.Incarnation() // as membership has said, before it was back
	theirs.mu.Unlock()
	owner.mu.Lock() // its follower does not get on
	time.AfterFunc(500*time.Millisecond, owner.mu.Unlock)
	begin := time.Now()
	now, err := Claim(testCtx(t), b, "orders", loopnode.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the claimer holds the name", func() bool { // on a busy machine its lease may be late
		held := now.Held()
		if held && mine.Held() {
			t.Fatalf("two act as the owner after %v", time.Since(begin))
		}
		return held
	})
	if now.Token() <= mine.Token() {
		t.Errorf("token %d after %d", now.Token(), mine.Token())
	}
}

// TestAClaimerWaitsForAnOwnerWhoseLeaseTheServersEnded: servers remove a lease by their wall
// clock. When that is set, they do so long before the owner ends by itself.
func TestAClaimerWaitsForAnOwnerWhoseLeaseTheServersEnded(t *testing.T) {
	a, b := pair(t)
	mine := mustClaim(t, a, "orders")
	mustClaim(t, b, "other")
	theirs, owner := roomOf(b), roomOf(a)
	owner.mu.Lock() // it neither renews its lease nor hears of records
	ctx := testCtx(t)
	lease, err := theirs.store.Get(ctx, leaseSubject("a"))
	if err == nil {
		l := readLease(lease)
		l.Nonce = records.Nonce()
		_, err = theirs.store.Put(ctx, lease.Subject, encode(l), lease.Seq, time.Second)
	}
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the lease is gone", func() bool {
		rec, err := theirs.store.Get(ctx, lease.Subject)
		return errors.Is(err, records.ErrAbsent) || err == nil && rec.Gone
	})
	time.AfterFunc(500*time.Millisecond, owner.mu.Unlock)
	now, err := Claim(ctx, b, "orders", loopnode.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	if now.Held() && mine.Held() {
		t.Fatal("two act as the owner")
	}
	until(t, "the claimer holds the name", now.Held) // not at once on a busy machine: others may have given its node up meanwhile
	if now.Token() <= mine.Token() {
		t.Errorf("the claimer has an older token: %v", now)
	}
}

// TestAClaimerWaitsForAnOwnerThatWasSilent: the owner was given up by a node that was cut
// off from it, lives, and was never in doubt of itself. Nothing is heard of it yet when the
// other one claims.
func TestAClaimerWaitsForAnOwnerThatWasSilent(t *testing.T) {
	a, b := pair(t)
	mine := mustClaim(t, a, "orders")
	mustClaim(t, b, "other")
	theirs, owner := roomOf(b), roomOf(a)
	theirs.heard = func(string, uint64) bool { return false } // its next heartbeat is on its way
	theirs.covers = func(string, uint64, uint64) bool { return true }
	theirs.mu.Lock()
	theirs.table.dead["a"] = a.Incarnation()
	theirs.mu.Unlock()
	owner.mu.Lock() // its follower does not get on
	time.AfterFunc(500*time.Millisecond, owner.mu.Unlock)
	now := mustClaim(t, b, "orders")
	if mine.Held() {
		t.Fatal("the former owner holds the name when the next one may act")
	}
	until(t, "the claimer holds the name", now.Held) // on a busy machine its lease may be late
}

// TestATakeoverFromTheDeadIsImmediate: its process is known to have ended, so nobody is
// waited for.
func TestATakeoverFromTheDeadIsImmediate(t *testing.T) {
	a, b := pair(t)
	mustClaim(t, b, "other")
	mine := mustClaim(t, a, "orders")
	room := roomOf(b)
	own := ownership{Version: version, Name: "ghostly", Node: "ghost", Life: 7, Term: 1, Nonce: "x"}
	if _, err := room.store.Put(testCtx(t), ownSubject(own.Name), encode(own), 0, 0); err != nil {
		t.Fatal(err)
	}
	room.mu.Lock()
	room.table.dead["ghost"] = 7
	room.mu.Unlock()
	room.gone = func(node string, life uint64) bool { return node == "ghost" && life == 7 }
	begin := time.Now()
	mustClaim(t, b, "ghostly")
	if took := time.Since(begin); took > promptly {
		t.Errorf("the name of a dead node took %v", took)
	}
	if !mine.Held() {
		t.Error("another name was lost")
	}
}

// TestANodeThatIsBackConfirmsItsNamesWithAWrite: a read could come from a server that was cut
// off and does not know what the others have stored. The token stays; what was overwritten is
// lost; what is released afterwards is free.
func TestANodeThatIsBackConfirmsItsNamesWithAWrite(t *testing.T) {
	a, b := pair(t)
	kept, overwritten := mustClaim(t, a, "kept"), mustClaim(t, a, "overwritten")
	room := roomOf(a)
	room.mu.Lock()
	before := kept.seq
	room.mu.Unlock()
	garbage := ownership{Version: version, Name: "overwritten", Node: "ghost", Life: 7, Term: 1, Nonce: "x"}
	doubt := func() {
		for _, o := range []*Ownership{kept, overwritten} {
			o.fence.Store(room.parts.Fences() - 1) // as when others may have given this node up
		}
	}
	doubt()
	if kept.Held() {
		t.Fatal("held before anybody has asked")
	}
	if _, err := room.store.Put(testCtx(t), ownSubject("overwritten"), encode(garbage), overwritten.Token(), 0); err != nil {
		t.Fatal(err)
	}
	doubt()
	room.verify()
	room.mu.Lock()
	after := kept.seq
	room.mu.Unlock()
	if !kept.Held() || after == before {
		t.Errorf("held: %v, its record was %d and is %d", kept.Held(), before, after)
	}
	if who, err := Resolve(testCtx(t), b, "kept"); err != nil || who.Token != kept.Token() || who.Node != "a" {
		t.Errorf("others see %+v, %v; the token is %d", who, err, kept.Token())
	}
	<-overwritten.Done()
	wantIs(t, overwritten.Err(), ErrLost)
	if err := kept.Release(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	if next := mustClaim(t, b, "kept"); next.Token() <= kept.Token() {
		t.Errorf("the next owner has the token %d after %d", next.Token(), kept.Token())
	}
}

// TestADeathIsOfOnePeriod: what an owner claims after it was given up and is back is its own,
// also for those who have not heard yet that it is back.
func TestADeathIsOfOnePeriod(t *testing.T) {
	a, b := pair(t)
	mustClaim(t, b, "other")
	mine := mustClaim(t, a, "orders")
	theirs := roomOf(b)
	asked := uint64(0)
	theirs.covers = func(_ string, _, period uint64) bool { asked = period; return period <= 4 }
	theirs.mu.Lock()
	theirs.table.dead["a"] = a.Incarnation()
	theirs.mu.Unlock()
	again := func(period uint64) error {
		t.Helper()
		rec, err := theirs.store.Get(testCtx(t), ownSubject("orders"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := readOwnership(rec)
		if err != nil {
			t.Fatal(err)
		}
		o.Period, o.Token = period, o.token(rec.Seq)
		if _, err := theirs.store.Put(testCtx(t), ownSubject("orders"), encode(o), rec.Seq, 0); err != nil {
			t.Fatal(err)
		}
		_, err = Claim(testCtx(t), b, "orders", loopnode.Ref{})
		return err
	}
	wantIs(t, again(5), ErrTaken)
	if asked != 5 || !mine.Held() {
		t.Errorf("asked for period %d; held: %v", asked, mine.Held())
	}
	if err := again(4); err != nil {
		t.Errorf("of the period in which it was given up: %v", err)
	}
}

// TestAClaimThatANewPeriodOvertakes: the node began to serve again, and looked at its names,
// while a claim was under way. Nobody looks at that one later, so the claim does.
func TestAClaimThatANewPeriodOvertakes(t *testing.T) {
	a, b := pair(t)
	mine := mustClaim(t, a, "orders")
	room := roomOf(a)
	room.mu.Lock()
	as, seq := mine.as, mine.seq
	room.mu.Unlock()
	as.Nonce = records.Nonce()
	room.expectClaim(as.Nonce, 1)
	seq, err := room.store.Put(testCtx(t), ownSubject("orders"), encode(as), seq, 0)
	if err != nil {
		t.Fatal(err)
	}
	now, err := room.own(as, seq, room.parts.Fences()-1)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the name is held", now.Held)
	wantIs(t, mine.Err(), ErrLost) // it was claimed again
	if _, err := Claim(testCtx(t), b, "orders", loopnode.Ref{}); !errors.Is(err, ErrTaken) {
		t.Error(err)
	}
	other := ownership{Version: version, Name: "orders", Node: "ghost", Life: 7, Term: 1, Nonce: "x"}
	room.mu.Lock()
	seq, as = now.seq, now.as
	room.mu.Unlock()
	if _, err := room.store.Put(testCtx(t), ownSubject("orders"), encode(other), seq, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := room.own(as, seq, room.parts.Fences()-1); !errors.Is(err, ErrLost) {
		t.Errorf("somebody else has it: %v", err)
	}
}
