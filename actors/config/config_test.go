package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the answers of testdata/bad.txt")

const secret = "a secret of the tests, long enough"

// write makes a file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// load loads a cluster file of that text, with a secret in the environment.
func load(t *testing.T, text string, environ ...string) (*Config, error) {
	t.Helper()
	return Load(Sources{File: write(t, t.TempDir(), "maquis.yaml", text), Environ: append([]string{"MAQUIS_SECRET=" + secret}, environ...)})
}

// Every problem of a file is named, all of them at once, each with its line and
// with what to write instead.
func TestBad(t *testing.T) {
	golden, err := filepath.Abs("testdata/bad.txt")
	require.NoError(t, err)
	b, err := os.ReadFile(golden)
	require.NoError(t, err)
	blocks := strings.Split(string(b), "\n=== ")
	out := blocks[0]
	t.Chdir(t.TempDir())
	for _, block := range blocks[1:] {
		head, want, ok := strings.Cut(block, "\n----\n")
		require.True(t, ok, block)
		title, text, _ := strings.Cut(head, "\n")
		write(t, ".", "maquis.yaml", text+"\n")
		environ := []string{"SHORT=short"}
		if !strings.Contains(text, "security:") && !strings.Contains(title, "production") {
			environ = append(environ, "MAQUIS_SECRET="+secret)
		}
		_, err := Load(Sources{File: "maquis.yaml", Environ: environ, SkipSecrets: !strings.Contains(text, "UNSET")})
		require.Error(t, err, title)
		out += "\n=== " + head + "\n----\n" + err.Error() + "\n"
		if !*update {
			t.Run(title, func(t *testing.T) { require.Equal(t, strings.TrimSpace(want), err.Error()) })
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(out), 0o644))
	}
}

// What is read is what was written.
func TestRead(t *testing.T) {
	c, err := load(t, `
profile: prod
cluster: shop
node: {name: orders-1, version: 1.10, listen: "0.0.0.0:7000", advertise: auto, tags: {zone: eu-1a, rack: 7}}
join:
  seeds: ["orders-0.orders:6278", "[::1]:6278"]
  expected_members: 3
failure: {preset: wan, silent_after: 1m30s}
overlays:
  - {kind: xbot, config: {active_size: 6, passive_size: 40, arwl: 5, prwl: 2, shuffle: 20s}}
  - {id: second, kind: scamp, config: {c: 4}}
routing: {policy: relay}
channels:
  - name: bulk
    lanes: 2
    priority: low
    max_queue_len: 1000
    max_queue_bytes: 512KiB
    overflow: reject
    types: [shop.v1.Chunk]
limits: {max_message: 1GiB}
`)
	require.NoError(t, err)
	require.Equal(t, Node{Name: "orders-1", Version: "1.10", Listen: "0.0.0.0:7000", Advertise: []string{"auto"}, Tags: map[string]string{"zone": "eu-1a", "rack": "7"}}, c.Node)
	require.Equal(t, Join{Seeds: []string{"orders-0.orders:6278", "[::1]:6278"}, ExpectedMembers: 3}, c.Join)
	require.Equal(t, Failure{Preset: "wan", Heartbeat: 2 * time.Second, SilentAfter: 90 * time.Second}, c.Failure)
	require.Equal(t, []Overlay{
		{ID: "main", Kind: "xbot", Active: 6, Passive: 40, ARWL: 5, PRWL: 2, Shuffle: 20 * time.Second},
		{ID: "second", Kind: "scamp", Copies: 4},
	}, c.Overlays)
	require.Equal(t, []Channel{{Name: "bulk", Lanes: 2, Priority: "low", MaxQueueLen: 1000, MaxQueueBytes: 512 << 10, Overflow: "reject", Types: []string{"shop.v1.Chunk"}}}, c.Channels)
	require.Equal(t, "relay", c.Routing.Policy)
	require.Equal(t, 1<<30, c.Limits.MaxMessage)
	require.Equal(t, Security{Mode: "secret", Secrets: []Secret{{Ref: "env:MAQUIS_SECRET", Value: secret}}}, c.Security)
}

// Strategies and rules are read with their options and printed as they were
// written.
func TestStrategies(t *testing.T) {
	c, err := load(t, `
join:
  discovery:
    - local
    - static: {addrs: [a, "b:7000"], port: 6279}
    - kubernetes: {selector: "app=orders", port: cluster, poll: true, interval: 10s}
    - fallback: {of: [{hosts_file: {path: hosts}}, {exec: {command: [find, nodes], env: [A=b]}}]}
channel_rules:
  - {types: [a.B], min_size: 64KiB, urgency: [low, medium], channel: bulk}
  - {channel: data}
`)
	require.NoError(t, err)
	o, _ := c.Origin("join.discovery[1]")
	dir := filepath.Dir(o.Name)
	require.Equal(t, []Strategy{
		{Kind: "local"}, {Kind: "static", Addrs: []string{"a", "b:7000"}, Port: 6279},
		{Kind: "kubernetes", Selector: "app=orders", PortName: "cluster", Poll: true, Interval: 10 * time.Second},
		{Kind: "fallback", Of: []Strategy{
			{Kind: "hosts_file", Path: filepath.Join(dir, "hosts")}, {Kind: "exec", Command: []string{"find", "nodes"}, Env: []string{"A=b"}},
		}},
	}, c.Join.Discovery)
	require.Equal(t, 5, o.Line)
	require.Equal(t, []Rule{{Types: []string{"a.B"}, MinSize: 64 << 10, Urgency: []string{"low", "medium"}, Channel: "bulk"}, {Channel: "data"}}, c.ChannelRules)
	again, err := load(t, c.YAML(true))
	require.NoError(t, err, c.YAML(true))
	require.Equal(t, c.Join, again.Join)
	require.Equal(t, c.ChannelRules, again.ChannelRules)

	env, err := Environment([]string{"MAQUIS_JOIN__DISCOVERY=[local, {static: {addrs: [a]}}]"})
	require.NoError(t, err)
	require.Equal(t, []Strategy{{Kind: "local"}, {Kind: "static", Addrs: []string{"a"}}}, env.Join.Discovery)
}

// The seed design's configuration is accepted and printed in our words, in
// Elixir's way of writing lists too.
func TestSeedKeys(t *testing.T) {
	c, err := load(t, `
partisan_peer_service_manager: Partisan.PeerService.Manager
partisan_channel_manager: Partisan.Channel.Manager
partisan_pluggable_peer_service_manager_name: anything
channels:
  - {name: ":control_plane", parallel_dispatch: true, max_queue_len: 1000}
  - {name: data_plane, parallel_dispatch: false, max_queue_len: 5000}
  - {name: state, monotonic: true, parallelism: 3, reliability: best_effort}
overlays:
  - {id: ":default_hyparview", module: Partisan.Overlay.HyParView, config: [active_random_walk_len: 5]}
`)
	require.NoError(t, err)
	require.Equal(t, []Overlay{{ID: "default_hyparview", Kind: "hyparview", ARWL: 5}}, c.Overlays)
	require.Equal(t, []Channel{
		{Name: "control_plane", Lanes: parallelLanes, MaxQueueLen: 1000}, {Name: "data_plane", Lanes: 1, MaxQueueLen: 5000},
		{Name: "state", Lanes: 3, Ordering: "monotonic", Delivery: "at_most_once"},
	}, c.Channels)
	require.Contains(t, c.YAML(false), "kind: hyparview\n    config:\n      arwl: 5\n")

	for manager, kind := range managerKinds {
		c, err = load(t, "partisan_peer_service_manager: "+manager+"\n")
		require.NoError(t, err)
		require.Equal(t, []Overlay{{ID: "main", Kind: kind}}, c.Overlays)
	}
	_, err = load(t, "partisan_peer_service_manager: partisan_hyparview_peer_service_manager\noverlays: [{kind: scamp}]\n")
	require.ErrorContains(t, err, "maquis.yaml:2: overlays: partisan_peer_service_manager and overlays say the same; keep overlays")
}

// A later layer goes over an earlier one, for each pair of them, and the origin
// is told.
func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "maquis.yaml", "node: {listen: \"127.0.0.1:1\"}\n")
	code := FromCode(func(c *Config) { c.Node.Listen = "127.0.0.1:2" })
	env := []string{"MAQUIS_NODE__LISTEN=127.0.0.1:3"}
	type layers struct{ profile, file, code, env bool }
	want := func(l layers) (string, string) {
		switch {
		case l.env:
			return "127.0.0.1:3", "MAQUIS_NODE__LISTEN"
		case l.code:
			return "127.0.0.1:2", "code"
		case l.file:
			return "127.0.0.1:1", file + ":1"
		case l.profile:
			return "127.0.0.1:0", "profile test"
		}
		return ":6278", "default"
	}
	for i := range 16 {
		l := layers{i&1 > 0, i&2 > 0, i&4 > 0, i&8 > 0}
		s := Sources{Environ: []string{"MAQUIS_SECRET=" + secret}}
		if l.profile {
			s.Environ = append(s.Environ, "MAQUIS_PROFILE=test")
		}
		if l.file {
			s.File = file
		}
		if l.code {
			s.Code = code
		}
		if l.env {
			s.Environ = append(s.Environ, env...)
		}
		c, err := Load(s)
		require.NoError(t, err)
		value, origin := want(l)
		got, _ := c.Origin("node.listen")
		require.Equal(t, value+" "+origin, c.Node.Listen+" "+got.String(), fmt.Sprintf("%+v", l))
	}
}

// The profile itself follows the same precedence.
func TestProfilePrecedence(t *testing.T) {
	dir := t.TempDir()
	s := Sources{File: write(t, dir, "maquis.yaml", "profile: dev\n")}
	origin := func() string {
		c, err := Load(s)
		require.NoError(t, err)
		o, _ := c.Origin("node.listen")
		return o.String()
	}
	require.Equal(t, "profile dev", origin())
	s.Environ = []string{"MAQUIS_SECRET=" + secret}
	s.Code = FromCode(func(c *Config) { c.Profile = "test" })
	require.Equal(t, "profile test", origin())
	s.Environ = append(s.Environ, "MAQUIS_PROFILE=dev")
	require.Equal(t, "profile dev", origin())
}

// Lists replace, tags and channels are merged by name, and modes of security
// take with them what they do not use.
func TestMerge(t *testing.T) {
	code := FromCode(func(c *Config) {
		c.Node.Tags = map[string]string{"service": "stock"}
		c.Channels = []Channel{{Name: "bulk", Lanes: 3}, {Name: "prices"}}
		c.Overlays = []Overlay{{ID: "main", Kind: "scamp"}}
		c.Security = Security{Mode: "secret", Secrets: []Secret{{Value: secret}}}
	})
	file := write(t, t.TempDir(), "maquis.yaml", `
node: {tags: {zone: eu, service: orders}}
join: {seeds: ["a:1", "b:1"]}
channels: [{name: bulk, lanes: 2, types: [T]}, {name: audit}]
overlays: [{id: main, kind: hyparview, config: {active_size: 6}}]
security: {mode: mtls, cert_file: c, key_file: k, ca_file: a}
`)
	c, err := Load(Sources{File: file, Code: code, Environ: []string{"MAQUIS_JOIN__SEEDS=c:1, d:1", "MAQUIS_NODE__TAGS={zone: us}", `MAQUIS_CHANNELS=[{"name": "audit", "lanes": 4}]`}})
	require.NoError(t, err)
	require.Equal(t, []string{"c:1", "d:1"}, c.Join.Seeds)
	require.Equal(t, map[string]string{"zone": "us", "service": "stock"}, c.Node.Tags)
	require.Equal(t, []Channel{{Name: "bulk", Lanes: 3}, {Name: "audit", Lanes: 4}, {Name: "prices"}}, c.Channels)
	require.Equal(t, []Overlay{{ID: "main", Kind: "scamp"}}, c.Overlays)
	require.Equal(t, Security{Mode: "secret", Secrets: []Secret{{Value: secret}}}, c.Security)
	for path, want := range map[string]string{
		"node.tags.zone": "MAQUIS_NODE__TAGS", "node.tags.service": "code", "channels.bulk.lanes": "code", "channels.audit.lanes": "MAQUIS_CHANNELS",
		"overlays.main.kind": "code", "security.secrets": "code",
	} {
		o, ok := c.Origin(path)
		require.True(t, ok, path)
		require.Equal(t, want, o.String(), path)
	}
	for _, path := range []string{"channels.bulk.types", "overlays.main.config.active_size", "security.cert_file"} {
		_, ok := c.Origin(path)
		require.False(t, ok, path)
	}
}

// Secrets come from files and variables, relative to the cluster file, and are
// never shown.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "new.key", secret+"\n")
	file := write(t, dir, "maquis.yaml", "security: {secrets: [\"file:new.key\", \"env:OLD\"]}\n")
	old := "another secret, from a variable"
	c, err := Load(Sources{File: file, Environ: []string{"OLD=" + old}})
	require.NoError(t, err)
	require.Equal(t, "secret", c.Security.Mode)
	require.Equal(t, secret, c.Security.Secrets[0].Value)
	require.Equal(t, old, c.Security.Secrets[1].Value)
	shown := c.YAML(true) + fmt.Sprintf("%v %+v %#v", c.Security, c.Security, c.Security) + fmt.Sprint(c.Rows())
	require.NotContains(t, shown, old)
	require.NotContains(t, shown, secret)
	require.Contains(t, shown, `secrets: ["file:new.key", "env:OLD"]`)

	c, err = Load(Sources{Environ: []string{"MAQUIS_SECRET=" + secret}})
	require.NoError(t, err)
	shown = c.YAML(true) + fmt.Sprintf("%v %+v %#v", c.Security, c.Security, c.Security)
	require.NotContains(t, shown, secret)
	require.Contains(t, shown, `secrets: ["env:MAQUIS_SECRET"]`)

	c, err = Load(Sources{Code: FromCode(func(c *Config) { c.Security = Security{Mode: "secret", Secrets: []Secret{{Value: secret}}} })})
	require.NoError(t, err)
	shown = c.YAML(true) + fmt.Sprintf("%v %+v %#v", c.Security, c.Security, c.Security) + fmt.Sprint(c.Rows())
	require.NotContains(t, shown, secret)
	require.Contains(t, shown, `secrets: ["***"]`)

	_, err = Load(Sources{File: file, Environ: nil})
	require.EqualError(t, err, file+":1: security.secrets[1]: the variable OLD of the secret is not set")
	_, err = Load(Sources{File: file, SkipSecrets: true})
	require.NoError(t, err)
}

// Variables are checked as keys are, and those that are no concern of ours are
// left alone.
func TestEnvironment(t *testing.T) {
	c, err := Environment([]string{
		"MAQUIS_CLUSTER=true", "MAQUIS_JOIN__EXPECTED_MEMBERS=3", "MAQUIS_NODE={name: a, version: 2}", "MAQUIS_NODE__NAME=b", "MAQUIS_FAILURE__PRESET=",
		"MAQUIS_SECURITY__SECRETS=[\"env:OLD\", \"in clear, from the environment\"]", "OTHER=x", "MAQUIS_TEST_CHILD=1",
		"MAQUIS_SERVICE_HOST=10.0.0.1", "MAQUIS_PORT=tcp://10.0.0.1:6278", "MAQUIS_PORT_6278_TCP_ADDR=10.0.0.1", "MAQUIS_CLUSTER_SERVICE_HOST=10.0.0.1",
	})
	require.NoError(t, err)
	require.Equal(t, "true", c.Cluster)
	require.Equal(t, "b 2", c.Node.Name+" "+c.Node.Version)
	require.Equal(t, 3, c.Join.ExpectedMembers)
	require.Equal(t, []Secret{{Ref: "env:OLD"}, {Value: "in clear, from the environment"}}, c.Security.Secrets)

	_, err = Environment([]string{
		"MAQUIS_CLUSTR=x", "MAQUIS_NODE_NAME=a", "MAQUIS_LIMITS__MAX_MESSAGE=64", "MAQUIS_JOIN__SEEDS=a:1,b", "MAQUIS_CHANNELS=[{nme: x}]",
		"MAQUIS_NODE__COLOR=red", "MAQUIS_OVERLAYS=[{kind: scamp", "MAQUIS_HTTP=x",
	})
	require.EqualError(t, err, strings.TrimSpace(`
MAQUIS_CHANNELS: channels[0].nme: unknown key; did you mean name?
MAQUIS_CLUSTR: no key has this variable; did you mean MAQUIS_CLUSTER?
MAQUIS_HTTP: http: this is not available in this version; leave it out
MAQUIS_JOIN__SEEDS: join.seeds[1]: "b" is no address to dial; use host:port, as in orders-0.orders:6278
MAQUIS_LIMITS__MAX_MESSAGE: limits.max_message: the unit of "64" is missing; write B, KiB, MiB or GiB behind it, as in 16MiB
MAQUIS_NODE_NAME: no key has this variable; did you mean MAQUIS_NODE__NAME?
MAQUIS_NODE__COLOR: no key has this variable; `+"`demo config docs`"+` lists all keys
MAQUIS_OVERLAYS: this is no YAML: did not find expected ',' or '}'
`))
}
