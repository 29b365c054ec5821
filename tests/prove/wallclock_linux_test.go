//go:build wallclock

package prove

import "time"

// stepper is what the overlay of tests/prove/wallclock adds to package time.
func stepper() func(time.Duration) { return time.StepWall }
