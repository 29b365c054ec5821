//go:build race

package rawio

import (
	"runtime"
	"unsafe"
)

// order is what the race detector takes for the kernel: bytes that were sent happen
// before bytes that are received, as with the calls of package syscall.
var order int64

// filled says that the kernel wrote p.
func filled(p []byte) {
	if len(p) > 0 {
		runtime.RaceWriteRange(unsafe.Pointer(unsafe.SliceData(p)), len(p))
	}
	runtime.RaceAcquire(unsafe.Pointer(&order))
}

// released says that the kernel reads p.
func released(p []byte) {
	runtime.RaceReleaseMerge(unsafe.Pointer(&order))
	if len(p) > 0 {
		runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(p)), len(p))
	}
}
