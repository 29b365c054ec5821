package actors

import "testing"

func TestAddressText(t *testing.T) {
	a, err := ParseAddress("n1/io-0/c42")
	if err != nil || a != (Address{Node: "n1", Path: "io-0/c42"}) || a.String() != "n1/io-0/c42" {
		t.Fatalf("got %#v, %v", a, err)
	}
	for _, bad := range []string{"", "n1", "/x", "n1/"} {
		if a, err := ParseAddress(bad); err == nil {
			t.Errorf("%q was taken as %#v", bad, a)
		}
	}
	if got := (Address{Path: "main"}).String(); got != "main" {
		t.Errorf("local address prints as %q", got)
	}
}
