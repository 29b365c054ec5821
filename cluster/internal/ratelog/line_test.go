package ratelog

import (
	"testing"
	"time"
)

func TestALogLineIsRareAndCountsTheOthers(t *testing.T) {
	var r Line
	now := time.Now().UnixNano()
	if ok, more := r.allow(now); !ok || more != 0 {
		t.Error("the first one was kept back")
	}
	for range 5 {
		if ok, _ := r.allow(now + 1e8); ok {
			t.Error("one too many")
		}
	}
	if ok, more := r.allow(now + 2e9); !ok || more != 5 {
		t.Errorf("got %v, %d", ok, more)
	}
}

func TestABurstIsCutOffWithinItsSecond(t *testing.T) {
	var b Burst
	at := time.Unix(1, 0)
	for i := range 5 {
		if ok, kept := b.allow(at, 3); ok != (i < 3) || kept != 0 {
			t.Errorf("%d: %v, %d", i, ok, kept)
		}
	}
	if ok, _ := b.allow(at.Add(999*time.Millisecond), 3); ok {
		t.Error("the second is not over")
	}
	if ok, kept := b.allow(at.Add(time.Second), 3); !ok || kept != 3 {
		t.Errorf("in the next second: %v, %d", ok, kept)
	}
}
