package schedule

import (
	"testing"
	"time"
)

// FuzzRule: a rule is refused, or its times come one after another, and each is found soon:
// the owner of a recurring call looks for it while others wait.
func FuzzRule(f *testing.F) {
	for _, seed := range []string{
		"@every 90s", "@every 1ns", "@every 9223372036s", "@every -1s", "@daily", "@5minutes", "30 8 * * 1-5", "*/10 * * * * *", "0 0 29 2 *", "0 0 31 2 *",
		"59 23 31 12 5L", "0 0 L * *", "0 0 15W * *", "0 0 * * 5#3", "0 0 0 29 2 * 2100", "0 0 1 1 * 1999", "*/0 * * * *", "1-0 * * * *", "99999999999999999999 * * * *", ", * * * *", "* * * * * * *",
	} {
		f.Add(seed, "", int64(1_772_366_400))
		f.Add(seed, "Europe/Amsterdam", int64(1_792_972_799))
	}
	f.Add("@daily", "../../etc/passwd", int64(0))
	f.Add("@yearly", "Asia/Kathmandu", int64(-62_135_596_800))
	f.Add("@yearly", "", int64(253_402_300_799))
	f.Fuzz(func(t *testing.T, spec, zone string, unix int64) {
		if unix < -62_135_596_800 || unix > 253_402_300_799 {
			return // no record holds such a time
		}
		begin := time.Now()
		r, err := ParseRule(spec, zone)
		if err == nil {
			at := time.Unix(unix, 0)
			for range 3 {
				next, err := r.Next(at)
				if err != nil {
					break
				}
				if !next.After(at) {
					t.Fatalf("%q in %q: behind %v comes %v", spec, zone, at, next)
				}
				at = next
			}
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("%q in %q from %d took %v", spec, zone, unix, took)
		}
	})
}
