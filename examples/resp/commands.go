package main

import (
	"strconv"
	"time"
)

func ping(_ *store, out []byte, args [][]byte) []byte {
	if len(args) > 0 {
		return appendBulk(out, args[0])
	}
	return append(out, "+PONG\r\n"...)
}

// set is SET key value [NX|XX] [EX seconds|PX milliseconds].
func set(s *store, out []byte, args [][]byte) []byte {
	key := string(args[0])
	_, there := s.keys[key]
	var life time.Duration
	for i := 2; i < len(args); i++ {
		unit := time.Second
		switch {
		case is(args[i], "NX") && there, is(args[i], "XX") && !there:
			return appendNil(out)
		case is(args[i], "NX"), is(args[i], "XX"):
			continue
		case is(args[i], "PX"):
			unit = time.Millisecond
		case !is(args[i], "EX"):
			return appendError(out, "syntax error")
		}
		if i++; i == len(args) {
			return appendError(out, "syntax error")
		}
		n, ok := seconds(args[i])
		if !ok || n <= 0 {
			return appendError(out, "invalid expire time in 'set' command")
		}
		life = time.Duration(n) * unit
	}
	if !s.fits(key, args[1]) {
		return appendError(out, full)
	}
	v := s.put(key, args[1])
	if life > 0 {
		s.expireIn(key, v, life)
	}
	return appendOK(out)
}

// seconds reads a time a duration can hold.
func seconds(b []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil && n < int64(1<<63-1)/int64(time.Second)
}

func mget(s *store, out []byte, args [][]byte) []byte {
	size := 0
	for _, key := range args {
		if v, ok := s.keys[string(key)]; ok {
			size += len(v.data)
		}
	}
	if size > maxReply {
		return appendError(out, "the reply is above 16 MiB, ask for fewer keys")
	}
	out = appendArray(out, len(args))
	for _, key := range args {
		out = s.appendValue(out, key)
	}
	return out
}

func mset(s *store, out []byte, args [][]byte) []byte {
	if len(args)%2 != 0 {
		return appendError(out, "wrong number of arguments for 'mset' command")
	}
	for i := 0; i < len(args); i += 2 {
		if !s.fits(string(args[i]), args[i+1]) {
			return appendError(out, full)
		}
		s.put(string(args[i]), args[i+1])
	}
	return appendOK(out)
}

func del(s *store, out []byte, args [][]byte) []byte {
	n := int64(0)
	for _, key := range args {
		if s.drop(string(key)) {
			n++
		}
	}
	return appendInt(out, n)
}

func exists(s *store, out []byte, args [][]byte) []byte {
	n := int64(0)
	for _, key := range args {
		if _, ok := s.keys[string(key)]; ok {
			n++
		}
	}
	return appendInt(out, n)
}

func expire(s *store, out []byte, args [][]byte) []byte {
	n, ok := seconds(args[1])
	if !ok {
		return appendError(out, "value is not an integer or out of range")
	}
	key := string(args[0])
	v, there := s.keys[key]
	switch {
	case !there:
		return appendInt(out, 0)
	case n <= 0:
		s.drop(key)
	default:
		s.expireIn(key, v, time.Duration(n)*time.Second)
	}
	return appendInt(out, 1)
}

// ttl is the seconds a key has left: -1 for ever, -2 not there.
func ttl(s *store, out []byte, args [][]byte) []byte {
	v, there := s.keys[string(args[0])]
	switch {
	case !there:
		return appendInt(out, -2)
	case v.expiry == nil:
		return appendInt(out, -1)
	}
	left := v.expiry.When().Sub(s.loop.Time())
	return appendInt(out, int64((left+time.Second-1)/time.Second))
}

func flushAll(s *store, out []byte, _ [][]byte) []byte {
	for key := range s.keys {
		s.drop(key)
	}
	return appendOK(out)
}

// config answers CONFIG GET name, which redis-benchmark asks first: nothing is
// kept on disk.
func config(_ *store, out []byte, args [][]byte) []byte {
	return appendBulk(appendBulk(appendArray(out, 2), args[1]), nil)
}
