package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var namedTest = regexp.MustCompile("`(Test[A-Za-z0-9]+)` in `([a-z0-9/]+)`")

// conformance.md has a row for each id, and each test that it names is there.
func TestConformanceTable(t *testing.T) {
	page, err := os.ReadFile("conformance.md")
	require.NoError(t, err)
	rows := make(map[string]string)
	for _, l := range strings.Split(string(page), "\n") {
		if cells := strings.Split(l, "|"); len(cells) == 5 && strings.HasPrefix(strings.TrimSpace(cells[1]), "P-") {
			rows[strings.TrimSpace(cells[1])] = cells[3]
		}
	}
	for i := range 33 {
		require.Contains(t, rows, fmt.Sprintf("P-%02d", i+1))
	}
	for id, row := range rows {
		for _, m := range namedTest.FindAllStringSubmatch(row, -1) {
			found := false
			files, err := filepath.Glob(filepath.Join("..", m[2], "*_test.go"))
			require.NoError(t, err)
			for _, f := range files {
				b, err := os.ReadFile(f)
				require.NoError(t, err)
				found = found || strings.Contains(string(b), "func "+m[1]+"(")
			}
			if !found {
				t.Errorf("%s names %s in %s, which is not there", id, m[1], m[2])
			}
		}
	}
}
