package members

import (
	"testing"
	"time"
)

// TestLettersAreCounted: of many in a second the first ones are told, the others are counted,
// and no one is forgotten: the counts add up to all.
func TestLettersAreCounted(t *testing.T) {
	var l letters
	at := time.Unix(1000, 0)
	told, sum := 0, uint64(0)
	note := func(at time.Time) {
		if n := l.count(at); n > 0 {
			told, sum = told+1, sum+n
		}
	}
	for range 1000 {
		note(at)
	}
	if told != maxLetters || sum != maxLetters {
		t.Errorf("%d told of %d", told, sum)
	}
	at = at.Add(seldomEach - 1)
	if note(at); told != maxLetters {
		t.Error("one more in the same second is told")
	}
	at = at.Add(1)
	if note(at); told != maxLetters+1 || sum != 1002 {
		t.Errorf("the next second: %d told, which stand for %d of 1002", told, sum)
	}
	if n := l.count(at); n != 1 {
		t.Errorf("those that were counted are told once: %d", n)
	}
}
