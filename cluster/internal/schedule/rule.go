package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Rule says when a recurring call runs: each Every, or at the times of a cron
// expression in a time zone.
type Rule struct {
	Every time.Duration
	Cron  string
	Zone  *time.Location
}

const leastEvery = 100 * time.Millisecond // each run is written down

// ParseRule reads "@every 90s" or a cron expression of 5 fields, of 6 with seconds first,
// or a tag such as @daily. zone is a name such as Europe/Amsterdam; "" is UTC.
func ParseRule(spec, zone string) (r Rule, err error) {
	if text, ok := strings.CutPrefix(spec, "@every "); ok {
		if zone != "" {
			return Rule{}, fmt.Errorf("%q with the time zone %s: @every has none", spec, zone)
		}
		r.Every, err = time.ParseDuration(strings.TrimSpace(text))
		switch {
		case err != nil:
			return Rule{}, fmt.Errorf("%q: use @every with a duration such as 90s or 1h30m: %w", spec, err)
		case r.Every < leastEvery:
			return Rule{}, fmt.Errorf("%q: the shortest is %v", spec, leastEvery)
		}
		return r, nil
	}
	if r.Zone, err = time.LoadLocation(zone); err != nil {
		return Rule{}, fmt.Errorf("the time zone %q is not known here: use a name such as Europe/Amsterdam: %w", zone, err)
	}
	if !gronx.IsValid(spec) {
		return Rule{}, fmt.Errorf("%q: use @every DURATION, or a cron expression such as \"30 8 * * 1-5\" (minute hour day month weekday)", spec)
	}
	r.Cron = spec
	_, err = r.Next(time.Now())
	return r, err
}

// A rule has no state: the next time follows from a time and the rule alone. So whoever
// owns a recurring call computes the same times, and a time that was run is never
// computed again, because the next one is always after it.

// Next is the first time of a cron rule after t. A time of day that comes twice, when
// clocks are put back, counts once; one that does not exist, when they are put forward,
// is left out.
func (r Rule) Next(t time.Time) (time.Time, error) {
	if r.Every > 0 {
		return t.Add(r.Every), nil
	}
	t = t.In(r.Zone)
	next, err := gronx.NextTickAfter(r.Cron, t, false)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%q has no next time: %w", r.Cron, err)
	case !next.After(t):
		return time.Time{}, fmt.Errorf("%q has no next time after %v", r.Cron, t)
	}
	return next, nil
}
