package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScaleTable(t *testing.T) {
	r := scaleReport{
		Nodes: 10, Processes: 3, Overlay: "hyparview", FormedS: 61, Links: figures{Mean: 5, Max: 8}, CPU: 0.5, BytesPerNodeS: 300, HeapPerNode: 1 << 19,
		PairsAsked: 100, Pairs: 99, BroadcastReached: 10, BroadcastMS: figures{P99: 20}, KilledKnownS: 3, MassKilled: 3, MassExactS: 16, MassReached: 6,
	}
	verdicts := make(map[string]bool)
	for _, row := range r.rows() {
		verdicts[row.what] = row.within
	}
	for what, within := range map[string]bool{
		"all know all, from the first start": false, "links of a node at rest, most": true, "requests between random nodes that were answered": false,
		"nodes that a broadcast reached": true, "3 nodes are killed at once: the others' rosters are exact": false, "survivors that the next broadcast reached": true,
	} {
		got, ok := verdicts[what]
		require.True(t, ok, what)
		require.Equal(t, within, got, what)
	}
	path := filepath.Join(t.TempDir(), "scale.md")
	require.NoError(t, r.write(path, "demo scale", "abc"))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(b), "| all know all, from the first start | 61.0 s | ≤ 60.0 s | missed |")
	require.Contains(t, string(b), "commit abc")
}
