// Package browser tests the dashboard in a real browser (Debian's chromium), behind the
// tag foreign: whole nodes, real clients, and a page that a person could look at.
//
//	go test -tags foreign ./tests/browser
//	go test -tags foreign ./tests/browser -run Screenshots -screenshots ../../docs
package browser
