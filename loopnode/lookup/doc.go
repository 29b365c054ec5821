// Package lookup is getaddrinfo and getnameinfo for tasks: numbers are answered
// at once, names by the loop's Resolver, on the loop's executor, so that the loop
// goes on. Flags and error codes are the C library's.
package lookup
