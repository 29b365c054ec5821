package loopnode

import (
	"os"
	"os/signal"
	"syscall"
)

// watchInterrupt cancels t at the first SIGINT. The second one ends the run, and
// makes the tear-down wait for nobody: whoever has ignored the cancellation once
// would ignore the one of the tear-down too.
func (l *Loop) watchInterrupt(t *task) (interrupted func() bool, stop func()) {
	sig, quit, over := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
	signal.Notify(sig, os.Interrupt)
	count := 0
	// goroutine: owner: Run; ends when main has ended (stop waits).
	go func() {
		defer close(over)
		for {
			select {
			case <-quit:
				return
			case <-sig:
			}
			if signalOwners.taken(syscall.SIGINT) {
				continue // a loop's own handler replaces this one
			}
			if count++; count == 1 {
				_ = l.post(func() { t.cancel("interrupted") })
				continue
			}
			_ = l.post(func() {
				select {
				case <-quit: // main has ended meanwhile: a later run is not meant
				default:
					l.hurried = true
					panic(Fatal(ErrInterrupted))
				}
			})
		}
	}()
	stop = func() {
		signal.Stop(sig)
		select {
		case <-quit:
		default:
			close(quit)
		}
		<-over
	}
	return func() bool { stop(); return count > 0 }, stop
}
