package conformance

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/tests/conformance/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// TestBooks: what can be checked without a run. The catalogue is whole, and no
// test of the module claims what does not exist, does not apply, or asserts
// nothing.
func TestBooks(t *testing.T) {
	tree := os.DirFS("../..")
	catalogue, err := ledger.ReadCatalogue(tree)
	if err != nil {
		t.Fatal(err)
	}
	if len(catalogue.Behaviours) != 399 {
		t.Errorf("the catalogue has %d behaviours, want 399", len(catalogue.Behaviours))
	}
	claims, err := ledger.Scan(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range ledger.Balance(catalogue, claims, nil).Problems {
		t.Error(problem)
	}
}
