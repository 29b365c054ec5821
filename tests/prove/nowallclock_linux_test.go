//go:build !wallclock

package prove

import "time"

// stepper: without the overlay there is none.
func stepper() func(time.Duration) { return nil }
