package nearest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/internal/nearest"
)

// The nearest word is one that a slip of the hand makes.
func TestNearest(t *testing.T) {
	words := []string{"listen", "lanes", "name", "seeds", "secrets"}
	require.Empty(t, nearest.Word(strings.Repeat("listen", 50), words))
	for wrote, want := range map[string]string{
		"lisen": "listen", "listne": "listen", "Listen": "listen", "line": "lanes", "nme": "name", "seed": "seeds", "secret": "secrets",
		"colour": "", "x": "", "": "",
	} {
		require.Equal(t, want, nearest.Word(wrote, words), wrote)
	}
}
