//go:build !linux

package proc

import (
	"syscall"
	"time"
)

// Child cannot be made here.
type Child struct{}

// Start answers ErrUnsupported.
func Start(Spec) (*Child, error) { return nil, ErrUnsupported }

// PID is 0.
func (*Child) PID() int { return 0 }

// FD is None.
func (*Child) FD() int { return None }

// Wait returns at once.
func (*Child) Wait() {}

// WaitFor is true.
func (*Child) WaitFor(time.Duration) bool { return true }

// Reap answers ErrUnsupported.
func (*Child) Reap() (int, bool, error) { return 0, true, ErrUnsupported }

// Signal answers ErrUnsupported.
func (*Child) Signal(syscall.Signal) error { return ErrUnsupported }

// SignalGroup answers ErrUnsupported.
func (*Child) SignalGroup(syscall.Signal) error { return ErrUnsupported }

// SignalGroup answers ErrUnsupported.
func SignalGroup(int, syscall.Signal) error { return ErrUnsupported }
