package config

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The table of docs/configuration.md is that of the schema.
func TestDocs(t *testing.T) {
	const page, first, last = "../../docs/configuration.md", "<!-- keys: written by go test ./actors/config -update -->\n", "<!-- end of keys -->"
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(b), first)
	require.True(t, ok)
	table, tail, ok := strings.Cut(rest, last)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(head+first+Docs()+last+tail), 0o644))
		return
	}
	require.Equal(t, Docs(), table, "run go test ./actors/config -update")
}

// Every key says what it means, and no two variables are the same.
func TestSchema(t *testing.T) {
	var walk func(keys []key, path string)
	walk = func(keys []key, path string) {
		for _, k := range keys {
			require.NotEmpty(t, k.doc, path+k.name)
			require.NotContains(t, k.doc, "|", path+k.name)
			walk(k.sub, path+k.name+".")
			walk(k.entry, path+k.name+"[].")
		}
	}
	walk(newConfig().schema(), "")
	n := 0
	var count func(keys []key)
	count = func(keys []key) {
		for _, k := range keys {
			n++
			count(k.sub)
		}
	}
	count(newConfig().schema())
	require.Len(t, variables(newConfig().schema(), ""), n)
}
