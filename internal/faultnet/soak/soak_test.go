//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/internal/faultnet"
)

func TestMain(m *testing.M) {
	if faultnet.IsNode() {
		os.Exit(faultnet.Run(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// The soak in small: five processes, half a minute.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes for half a minute")
	}
	r, err := run(t.Context(), options{length: 30 * time.Second, processes: 5, seed: 3, overlay: "hyparview"})
	require.NoError(t, err)
	require.Empty(t, r.Violations)
	require.NotZero(t, r.Messages.Delivered)
	require.NotEmpty(t, r.Recoveries)
	require.NotEmpty(t, r.Faults)
	require.NotZero(t, r.Calls["answered"])
	dir := t.TempDir()
	require.NoError(t, r.save(filepath.Join(dir, "r.json"), filepath.Join(dir, "r.md")))
	b, err := os.ReadFile(filepath.Join(dir, "r.md"))
	require.NoError(t, err)
	require.Contains(t, string(b), "every promise was kept")
	require.Contains(t, string(b), "too short to say")
}

// Options that cannot be used are named.
func TestOptions(t *testing.T) {
	require.ErrorContains(t, options{processes: 3, length: time.Minute}.validate(), "--processes 3")
	require.ErrorContains(t, options{processes: 8, length: time.Second}.validate(), "--for 1s")
	require.NoError(t, options{processes: 8, length: time.Minute}.validate())
}
