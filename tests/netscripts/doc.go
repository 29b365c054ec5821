// Package netscripts runs random scripts on connections: one end is a transport, the
// other one plain net and crypto/tls. Both check every byte they get, and the
// transport's end checks the order of the callbacks of its protocol:
//
//	go test ./tests/netscripts -scripts 20000 -seed 5000
//
// A script is nothing but its seed, which a failure names.
package netscripts
