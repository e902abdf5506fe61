package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is printed is a cluster file that says the same.
func TestYAML(t *testing.T) {
	c, err := load(t, `
cluster: "shop: west #1"
node: {name: "7", tags: {"a b": "yes", zone: "[x]", empty: ""}}
join: {seeds: ["[::1]:6278"]}
security: {secrets: ["env:MAQUIS_SECRET"]}
overlays: [{id: main, kind: static, config: {neighbors: [a, "-b"]}}, {id: second, kind: hyparview}]
channels: [{name: "null", block_timeout: 90m, max_queue_bytes: 3KiB, types: [a.B, c.D]}]
`)
	require.NoError(t, err)
	text := c.YAML(true)
	again, err := load(t, text)
	require.NoError(t, err, text)
	c.origins, again.origins = nil, nil
	require.Equal(t, c, again, text)
}

// Origins stand behind values.
func TestOrigins(t *testing.T) {
	c, err := load(t, "profile: test\ncluster: shop\nnode:\n  tags: {zone: eu}\nchannels:\n  - name: bulk\n    lanes: 2\n", "MAQUIS_NODE__NAME=a")
	require.NoError(t, err)
	got := c.YAML(true)
	for _, want := range []string{":2\n", "# MAQUIS_NODE__NAME\n", "# profile test\n", "# default\n", "# MAQUIS_SECRET\n", ":7\n"} {
		require.Contains(t, got, want)
	}
	rows := map[string]Row{}
	for _, r := range c.Rows() {
		rows[r.Path] = r
	}
	require.Equal(t, 2, rows["channels.bulk.lanes"].Value)
	require.Equal(t, 7, rows["channels.bulk.lanes"].Origin.Line)
	require.Equal(t, "127.0.0.1:0", rows["node.listen"].Value)
	require.Equal(t, []string{"env:MAQUIS_SECRET"}, rows["security.secrets"].Value)
}

// Sizes and durations are read back as they were written.
func TestUnits(t *testing.T) {
	for _, s := range []string{"1B", "1023B", "1KiB", "1536B", "16MiB", "3GiB"} {
		n, why := parseSize(s)
		require.Empty(t, why)
		require.Equal(t, s, formatSize(n))
	}
	for _, s := range []string{"5s", "1m30s", "2m", "1h", "1h0m1s", "250ms", "30m", "10s"} {
		d, why := parseSpan(s)
		require.Empty(t, why)
		require.Equal(t, s, formatSpan(d))
	}
	require.Equal(t, "20s", formatSpan(20*time.Second))
}

// What differs between two configurations is named once, and can be adopted in
// part.
func TestDiffAdopt(t *testing.T) {
	before, err := load(t, "cluster: a\nnode: {tags: {zone: eu}}\njoin: {seeds: [\"a:1\"]}\n")
	require.NoError(t, err)
	after, err := load(t, "cluster: b\nnode: {name: x, tags: {zone: us, rack: 7}}\nchannels: [{name: bulk}]\n")
	require.NoError(t, err)
	paths, live := Diff(before, after)
	require.Equal(t, []string{"cluster", "node.name", "node.tags", "join.seeds", "channels"}, paths)
	require.Equal(t, []bool{false, false, true, true, true}, live)

	part := Adopt(before, after, []string{"node.tags", "join.seeds"})
	require.Equal(t, "a", part.Cluster)
	require.Equal(t, map[string]string{"zone": "us", "rack": "7"}, part.Node.Tags)
	require.Empty(t, part.Join.Seeds)
	paths, _ = Diff(part, after)
	require.Equal(t, []string{"cluster", "node.name", "channels"}, paths)
	paths, _ = Diff(before, before)
	require.Empty(t, paths)
}
