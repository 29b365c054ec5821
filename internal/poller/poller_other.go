//go:build !linux

package poller

import "time"

// Poller cannot exist on this system.
type Poller struct{}

// New answers ErrUnsupported.
func New() (*Poller, error) { return nil, ErrUnsupported }

// Close answers ErrUnsupported.
func (*Poller) Close() error { return ErrUnsupported }

// Add answers ErrUnsupported.
func (*Poller) Add(int, Events, any) (Token, error) { return Token{}, ErrUnsupported }

// Modify answers ErrUnsupported.
func (*Poller) Modify(Token, Events) error { return ErrUnsupported }

// Remove answers ErrUnsupported.
func (*Poller) Remove(Token) error { return ErrUnsupported }

// Wait answers ErrUnsupported.
func (*Poller) Wait(time.Duration, func(any, Events)) (int, error) { return 0, ErrUnsupported }

// Wake answers ErrUnsupported.
func (*Poller) Wake() error { return ErrUnsupported }
