package link

import (
	"testing"
	"time"
)

func TestOneSenderIsHeardSoOftenInASecond(t *testing.T) {
	var p pace
	at := time.Unix(1, 0)
	for range 3 {
		for i := range 2 * broadcastsEach {
			if got := p.allow("bad", at); got != (i < broadcastsEach) {
				t.Fatalf("frame %d in its second: %v", i, got)
			}
		}
		if !p.allow("n1", at) {
			t.Error("another sender is not heard")
		}
		at = at.Add(time.Second)
	}
}
