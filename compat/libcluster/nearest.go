package libcluster

import (
	"strings"

	"github.com/maquis-go/maquis/internal/nearest"
)

// near returns the word that was meant by what was written: the one that ends
// with it, or is nearest to it.
func near(wrote string, words []string) string {
	for _, w := range words {
		if strings.HasSuffix(w, "_"+wrote) {
			return w
		}
	}
	return nearest.Word(wrote, words)
}
