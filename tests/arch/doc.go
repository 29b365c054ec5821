// Package arch holds no code, only tests of the module's shape: who may import
// whom, what no file may contain, what every goroutine and exported name owes
// its reader. The rules are small tables; each rule also runs against a planted
// violation that it must find.
package arch
