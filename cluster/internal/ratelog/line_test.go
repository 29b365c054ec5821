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
