package main

import (
	"bytes"
	"context"
	"testing"
)

func TestOutput(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	want := `quick is done
a timer, between the two
slow is done
forever cleans up
forever was cancelled: enough
`
	if out.String() != want {
		t.Fatalf("got\n%s\nwant\n%s", out.String(), want)
	}
}
