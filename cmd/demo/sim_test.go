package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// simulate runs demo sim in this process.
func simulate(t *testing.T, args ...string) (status int, out, errw string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(append([]string{"sim"}, args...), strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

func TestSimJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.svg")
	status, out, errw := simulate(t, "--nodes", "200", "--cycles", "5", "--fail", "0.3", "--messages", "4", "--senders", "random", "--json", "--plot", file)
	require.Zero(t, status, errw)
	require.Equal(t, 1, strings.Count(out, "\n"), "standard output holds nothing but the result")
	var r map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.EqualValues(t, 1, r["components"])
	require.EqualValues(t, 0, r["asymmetric"])
	require.EqualValues(t, 200, r["largest_component"], "the overlay is measured before the crash")
	require.EqualValues(t, 140, r["live"])
	require.Len(t, r["broadcasts"], 4)
	first := r["broadcasts"].([]any)[0].(map[string]any)
	for _, f := range []string{"reliability", "rmr", "last_hop", "payload", "control"} {
		require.Contains(t, first, f)
	}
	require.Contains(t, errw, "plumtree over hyparview, 200 nodes")
	svg, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(svg), "</svg>")
}

func TestSimComparesReports(t *testing.T) {
	_, out, _ := simulate(t, "--nodes", "100", "--cycles", "2", "--messages", "3", "--json")
	file := filepath.Join(t.TempDir(), "report.json")
	require.NoError(t, os.WriteFile(file, []byte(out), 0o644))
	status, _, errw := simulate(t, "--nodes", "100", "--cycles", "2", "--messages", "3", "--compare", file)
	require.Zero(t, status, errw)
	status, out, errw = simulate(t, "--nodes", "100", "--cycles", "2", "--messages", "3", "--tree", "flood", "--compare", file)
	require.Equal(t, exitFailed, status)
	require.Contains(t, out, "mean_rmr")
	require.Contains(t, errw, "differ by more than 5 %")
}

func TestSimScenario(t *testing.T) {
	file := filepath.Join(t.TempDir(), "scenario.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"overlay": "scamp", "nodes": 50, "latency": "1ms", "check": true,
		"steps": [{"do": "join"}, {"do": "cut", "a": 3, "b": 4}, {"do": "run", "for": "10s"}, {"do": "heal"}, {"do": "broadcast", "messages": 2}]}`), 0o644))
	status, out, errw := simulate(t, "--scenario", file)
	require.Zero(t, status, errw)
	require.Contains(t, out, "plumtree over scamp, 50 nodes")
}

// What cannot be used is named, with what to write instead; exit status 2.
func TestSimUsage(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte(`{"overlay": "hyparview", "nodes": 10, "steps": [{"do": "jump"}]}`), 0o644))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--overlay", "chord"}, `no overlay "chord"; use one of hyparview`},
		{[]string{"--tree", "oak"}, `no tree "oak"; use one of plumtree`},
		{[]string{"--nodes", "0"}, "0 nodes; use 1 to"},
		{[]string{"--fail", "1.5"}, "--fail 1.5: use a part"},
		{[]string{"--senders", "all"}, `use "one" or "random"`},
		{[]string{"--detect", "luck"}, `use "send", "reset" or "silence"`},
		{[]string{"--scenario", broken}, "there is no such verb; use one of join"},
		{[]string{"--scenario", broken, "--nodes", "3"}, "leave out [--nodes]"},
		{[]string{"--scenario", "/nowhere"}, "--scenario: open /nowhere"},
		{[]string{"--compare", broken + "x"}, "--compare: open"},
		{[]string{"extra"}, `unexpected argument "extra"`},
	} {
		status, _, errw := simulate(t, c.args...)
		require.Equal(t, exitUsage, status, "%v", c.args)
		require.Contains(t, errw, c.want, "%v", c.args)
	}
}
