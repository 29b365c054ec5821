package process_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

// TestMain lets the test binary be a node of its own, so that it can be killed.
func TestMain(m *testing.M) {
	if args := os.Getenv(roleVariable); args != "" {
		if err := role(strings.Fields(args)); err != nil {
			fmt.Println(err)
		}
		return
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}
