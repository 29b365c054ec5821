package cluster

import (
	"fmt"
	"testing"
	"time"
)

func TestInventedMembersAreBounded(t *testing.T) {
	var members memberTable
	members.init()
	now := time.Now()
	for i := range maxMembers + 100 {
		members.saw(fmt.Sprintf("m%d", i), 1, now)
	}
	if got := len(members.byName); got != maxMembers {
		t.Errorf("%d members, the limit is %d", got, maxMembers)
	}
	if fresh, replaced := members.saw("m1", 2, now); !fresh || replaced != 1 {
		t.Errorf("a known one that starts again is not let in: %v, %d", fresh, replaced)
	}
	for i := range 2 * maxLeft {
		members.gaveUp(fmt.Sprintf("m%d", i), 1, 5)
	}
	if got := len(members.lost); got > maxLeft {
		t.Errorf("%d nodes given up are remembered", got)
	}
	members.gaveUp("back", 7, 5)
	if got := members.stillThere("back", 7, true); got != 5 {
		t.Errorf("calls up to %d, want 5", got)
	}
	if got := members.stillThere("back", 7, true); got != 0 {
		t.Errorf("told twice: %d", got)
	}
	members.gaveUp("other life", 7, 5)
	if got := members.stillThere("other life", 8, true); got != 0 {
		t.Errorf("another life was told: %d", got)
	}
}
