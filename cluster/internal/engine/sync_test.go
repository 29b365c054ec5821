package engine

import (
	"testing"
	"time"
)

// TestStoreSync: by default no answer comes before the disk; another span is the server's, and
// what cannot be meant is refused.
func TestStoreSync(t *testing.T) {
	for each, always := range map[time.Duration]bool{0: true, time.Second: false} {
		o, err := serverOptions(&Config{Node: "a", StoreDir: t.TempDir(), StoreSync: each})
		if err != nil || o.SyncAlways != always || o.SyncInterval != each {
			t.Errorf("%v: %+v %v", each, o, err)
		}
	}
	_, err := attempt(t, Config{Node: "a", StoreSync: time.Second})
	wantIs(t, err, ErrConfig, "no StoreDir")
	_, err = attempt(t, Config{Node: "a", StoreDir: t.TempDir(), StoreSync: time.Hour})
	wantIs(t, err, ErrConfig, "the most is 1m0s")
	e := opened(t, Config{Node: "a", StoreDir: t.TempDir(), StoreSync: time.Second})
	e.Close()
}
