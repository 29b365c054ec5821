package main

import "time"

// limits is what a client may cost, and how long it is waited for. Everything that a client
// can make grow has its bound here.
type limits struct {
	clients   int           // at once on this node; one more is answered 503
	head      int           // bytes of a request; more is answered 431
	message   int           // bytes of a message, all its frames together; more is 1009
	output    int           // bytes that may wait for a client that reads too slowly
	rate      int           // messages of a client in a second; it is not read faster
	posts     int           // messages of a client under way to others, and of others to a client
	rooms     int           // that a client may be in
	watches   int           // users that a client may watch
	allRooms  int           // rooms with somebody of this node in them
	watched   int           // users that somebody of this node watches
	handshake time.Duration // for the whole request; then it is answered 408
	late      time.Duration // for a request that has begun when the node goes away; then it is answered 503
	ping      time.Duration // between two pings; who is silent from one to the next but one is cut off
	slow      time.Duration // a client that does not read for so long is cut off
	receipt   time.Duration // for a client to confirm a message, before it is sent once more
	accept    time.Duration // for a message to be confirmed at all; then its sender is told that it was not
	offline   time.Duration // how long a message waits for a user who is nowhere: it may be reconnecting
	farewell  time.Duration // for a client to answer Close, or to take the last bytes
	spread    time.Duration // within which the clients of a node that drains are sent away
}

// defaults are for a product with small messages.
func defaults() limits {
	return limits{
		clients: 20_000, head: 8 << 10, message: 64 << 10, output: 256 << 10, rate: 200, posts: 32,
		rooms: 32, watches: 200, allRooms: 10_000, watched: 20_000,
		handshake: 5 * time.Second, late: time.Second, ping: 20 * time.Second, slow: 10 * time.Second, receipt: 3 * time.Second, accept: 15 * time.Second,
		offline: 4 * time.Second, farewell: 2 * time.Second, spread: 3 * time.Second,
	}
}
