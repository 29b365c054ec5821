package actors

import "testing"

func TestAddressText(t *testing.T) {
	for _, a := range []Address{
		{Path: "main"},
		{Node: "n1", Path: "io-0/c42"},
		{Node: "n1", Incarnation: 77, Path: "io-0"},
	} {
		back, err := Parse(a.String())
		if err != nil || back != a {
			t.Errorf("%#v prints as %q, which reads as %#v, %v", a, a.String(), back, err)
		}
	}
	for _, bad := range []string{"", "n1//", "\x00"} {
		if a, err := Parse(bad); err == nil {
			t.Errorf("%q was taken as %#v", bad, a)
		}
	}
}
