package members

import (
	"fmt"
	"testing"
	"time"
)

func TestInventedMembersAreBounded(t *testing.T) {
	var members table
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
}
