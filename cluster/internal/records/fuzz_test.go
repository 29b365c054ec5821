package records

import (
	"strings"
	"testing"
)

// FuzzToken: any text is one token of a subject, and different texts are different ones.
func FuzzToken(f *testing.F) {
	f.Add("mail", "mail ")
	f.Add("a.b", "a=2eb")
	f.Add("*", ">")
	f.Add("\x00", "é")
	f.Fuzz(func(t *testing.T, a, b string) {
		one := Token(a)
		if strings.ContainsAny(one, ".*> \t\r\n\x00+") || (one == "") != (a == "") {
			t.Errorf("%q is %q", a, one)
		}
		if (one == Token(b)) != (a == b) {
			t.Errorf("%q and %q are both %q", a, b, one)
		}
	})
}
