package messages

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every reason of reason.go is known; what a peer invents is one reason.
func TestParseReason(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	require.NoError(t, err)
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			require.Equal(t, Reason(text), ParseReason([]byte(text)))
			n++
		}
		return true
	})
	require.Equal(t, len(known), n+1, "and ReasonOther")
	require.Equal(t, ReasonOther, ParseReason([]byte("invented")))
	require.Equal(t, ReasonOther, ParseReason(nil))
}
