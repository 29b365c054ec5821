package main

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// store is the data. Owned by the loop: no lock.
type store struct {
	loop *loopnode.Loop
	keys map[string]*value
	size int // bytes of all keys and values, with what a key costs besides
}

type value struct {
	data   []byte
	expiry *loopnode.TimerHandle // nil: it stays
}

func newStore(l *loopnode.Loop) *store { return &store{loop: l, keys: map[string]*value{}} }

// command runs with as many words behind its name as it wants, at least.
type command struct {
	atLeast int
	run     func(s *store, out []byte, args [][]byte) []byte
}

var commands = map[string]command{
	"PING":     {0, ping},
	"ECHO":     {1, func(_ *store, out []byte, a [][]byte) []byte { return appendBulk(out, a[0]) }},
	"SET":      {2, set},
	"GET":      {1, func(s *store, out []byte, a [][]byte) []byte { return s.appendValue(out, a[0]) }},
	"MGET":     {1, mget},
	"MSET":     {2, mset},
	"DEL":      {1, del},
	"EXISTS":   {1, exists},
	"INCR":     {1, func(s *store, out []byte, a [][]byte) []byte { return s.add(out, a[0], 1) }},
	"DECR":     {1, func(s *store, out []byte, a [][]byte) []byte { return s.add(out, a[0], -1) }},
	"EXPIRE":   {2, expire},
	"TTL":      {1, ttl},
	"DBSIZE":   {0, func(s *store, out []byte, _ [][]byte) []byte { return appendInt(out, int64(len(s.keys))) }},
	"FLUSHALL": {0, flushAll},
	"SELECT":   {1, func(_ *store, out []byte, _ [][]byte) []byte { return appendOK(out) }},
	"QUIT":     {0, func(_ *store, out []byte, _ [][]byte) []byte { return appendOK(out) }},
	"COMMAND":  {0, func(_ *store, out []byte, _ [][]byte) []byte { return appendArray(out, 0) }}, // redis-cli asks first
	"CONFIG":   {2, config},
}

// is compares a word without regard to case, as Redis does.
func is(word []byte, name string) bool { return bytes.EqualFold(word, []byte(name)) }

// do runs one command and appends its reply.
func (s *store) do(out []byte, args [][]byte) []byte {
	c, ok := commands[string(args[0])]
	if !ok {
		c, ok = commands[strings.ToUpper(string(args[0]))]
	}
	switch {
	case !ok:
		return appendError(out, "unknown command '"+string(args[0])+"'")
	case len(args)-1 < c.atLeast:
		return appendError(out, "wrong number of arguments for '"+strings.ToLower(string(args[0]))+"' command")
	}
	return c.run(s, out, args[1:])
}

// keyCost is what a key takes besides its bytes: the map's and the value's share.
const keyCost = 128

const full = "the store is full: delete keys first"

// fits reports whether the store may hold data under key.
func (s *store) fits(key string, data []byte) bool {
	size := s.size + len(key) + len(data) + keyCost
	if v, ok := s.keys[key]; ok {
		size -= len(key) + len(v.data) + keyCost
	}
	return size <= maxStore
}

func (s *store) put(key string, data []byte) *value {
	s.drop(key)
	v := &value{data: bytes.Clone(data)} // the words are lent by the connection's buffer
	s.keys[key] = v
	s.size += len(key) + len(data) + keyCost
	return v
}

// drop forgets a key with its timer.
func (s *store) drop(key string) bool {
	v, ok := s.keys[key]
	if ok && v.expiry != nil {
		v.expiry.Cancel()
	}
	if ok {
		s.size -= len(key) + len(v.data) + keyCost
	}
	delete(s.keys, key)
	return ok
}

func (s *store) expireIn(key string, v *value, d time.Duration) {
	if v.expiry != nil {
		v.expiry.Cancel()
	}
	v.expiry = s.loop.CallLater(d, func() { s.drop(key) })
}

func (s *store) appendValue(out, key []byte) []byte {
	if v, ok := s.keys[string(key)]; ok {
		return appendBulk(out, v.data)
	}
	return appendNil(out)
}

func (s *store) add(out, key []byte, by int64) []byte {
	n := int64(0)
	v, ok := s.keys[string(key)]
	if ok {
		var err error
		if n, err = strconv.ParseInt(string(v.data), 10, 64); err != nil {
			return appendError(out, "value is not an integer or out of range")
		}
	} else {
		if !s.fits(string(key), nil) {
			return appendError(out, full)
		}
		v = s.put(string(key), nil)
	}
	s.size -= len(v.data)
	v.data = strconv.AppendInt(v.data[:0], n+by, 10)
	s.size += len(v.data)
	return appendInt(out, n+by)
}
