package actors

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/actors/config"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// Each kind of strategy that a file can name is made, with its options.
func TestStrategyOf(t *testing.T) {
	for _, k := range config.Strategies {
		require.NotNil(t, strategyOf(config.Strategy{Kind: k}), k)
	}
	require.Equal(t, discovery.Static{Addrs: []string{"a"}, Port: 7}, strategyOf(config.Strategy{Kind: "static", Addrs: []string{"a"}, Port: 7}))
	require.Equal(t, discovery.HostsFile{Path: "h", Reload: time.Second}, strategyOf(config.Strategy{Kind: "hosts_file", Path: "h", Reload: time.Second}))
	require.Equal(t, discovery.Kubernetes{Selector: "app=x", PortName: "cluster", ReadyOnly: true}, strategyOf(config.Strategy{Kind: "kubernetes", Selector: "app=x", PortName: "cluster", ReadyOnly: true}))
	require.Equal(t, discovery.Kubernetes{Service: "x", Port: 7000}, strategyOf(config.Strategy{Kind: "kubernetes", Service: "x", PortName: "7000"}))
	require.Equal(t, "fallback(static a; file f)", discovery.Describe(strategyOf(config.Strategy{Kind: "fallback", Of: []config.Strategy{{Kind: "static", Addrs: []string{"a"}}, {Kind: "file", Path: "f"}}})))
}

// Topologies of libcluster are read where they stand, and what is wrong in them
// is told with its line.
func TestLibclusterTopologies(t *testing.T) {
	c, err := config.Parse("maquis.yaml", []byte("cluster: shop\nenable_libcluster_compat_layer: true\nlibcluster_topologies:\n  static:\n    strategy: Epmd\n    config: {hosts: [app@10.0.0.1]}\n"))
	require.NoError(t, err)
	var o options
	require.NoError(t, o.apply(c))
	require.Len(t, o.discovery, 1)
	require.NotNil(t, o.discovery[0])
	require.Contains(t, c.YAML(false), `libcluster_topologies: {static: {config: {hosts: ["app@10.0.0.1"]}, strategy: Epmd}}`)

	c, err = config.Parse("maquis.yaml", []byte("enable_libcluster_compat_layer: true\nlibcluster_topologies:\n  static:\n    strategy: Epmd\n    config:\n      host: [app@10.0.0.1]\n"))
	require.NoError(t, err)
	require.ErrorContains(t, new(options).apply(c), "maquis.yaml:6: libcluster_topologies: topology static: host is no key of Cluster.Strategy.Epmd; did you mean hosts?")

	env, err := config.Environment([]string{"MAQUIS_LIBCLUSTER_TOPOLOGIES={static: {strategy: Epmd, config: {hosts: [app@10.0.0.1]}}}", "MAQUIS_ENABLE_LIBCLUSTER_COMPAT_LAYER=true"})
	require.NoError(t, err)
	var fromEnv options
	require.NoError(t, fromEnv.apply(env))
	require.Len(t, fromEnv.discovery, 1)

	c, err = config.Parse("maquis.yaml", []byte("enable_libcluster_compat_layer: false\nlibcluster_topologies: {x: {strategy: Nonsense}}\n"))
	require.NoError(t, err)
	require.NoError(t, new(options).apply(c), "what is switched off is not heeded")
}

// The words of a file are the runtime's values.
func TestChannelWords(t *testing.T) {
	spec := ChannelSpec{
		Name: "x", Lanes: 3, Priority: channelmgr.Low, Delivery: channelmgr.AtLeastOnce, Ordering: channelmgr.Causal, MaxQueueLen: 7, MaxQueueBytes: 8,
		Overflow: channelmgr.DropNewest, BlockTimeout: time.Second, Compression: channelmgr.Zstd, Overlay: "o", Types: []string{"T"},
	}
	words := channelConfig(spec)
	require.Equal(t, []string{"low", "at_least_once", "causal", "drop_newest", "zstd"}, []string{words.Priority, words.Delivery, words.Ordering, words.Overflow, words.Compression})
	require.Equal(t, spec, channelSpec(words))
	require.Equal(t, ChannelSpec{Name: "x"}, channelSpec(channelConfig(ChannelSpec{Name: "x"})))
	c, err := config.Parse("maquis.yaml", []byte("channels: [{name: x, parallel_dispatch: true}]\n"))
	require.NoError(t, err)
	require.Equal(t, channelmgr.ParallelLanes, c.Channels[0].Lanes)
	for _, name := range config.ChannelSets {
		_, err := channelmgr.Preset(name)
		require.NoError(t, err)
	}
	o := OverlaySpec{ID: "o", Kind: HyParView, Active: 1, Passive: 2, ActiveWalk: 3, PassiveWalk: 4, Shuffle: 5, Copies: 6, Servers: []string{"s"}, Neighbors: []string{"n"}, Reserve: []string{"t=v"}}
	require.Equal(t, o, overlaySpec(overlayConfig(o)))
}

// Rules and presets of a file reach the node; a rule whose channel there is not
// is named.
func TestFileChannels(t *testing.T) {
	c, err := config.Parse("maquis.yaml", []byte("channel_preset: foundation\nchannels: [{name: gossip, lanes: 2}]\nchannel_rules: [{min_size: 64KiB, urgency: [low], channel: gossip}]\n"))
	require.NoError(t, err)
	var o options
	require.NoError(t, o.apply(c))
	names := make(map[string]int)
	for _, s := range o.channels {
		names[s.Name] = s.Lanes
	}
	require.Equal(t, map[string]int{"coordination": 3, "events": 2, "gossip": 2}, names)
	require.Equal(t, []RoutingRule{{MinSize: 64 << 10, Urgency: []Priority{Low}, Channel: "gossip"}}, o.rules)

	c, err = config.Parse("maquis.yaml", []byte("channels: [{name: bulk, delivery: at_least_once, ordering: monotonic}]\nchannel_rules:\n  - {channel: bulk}\n  - {channel: gossip}\njoin: {discovery: [{kubernetes: {}}]}\n"))
	require.NoError(t, err)
	require.EqualError(t, new(options).apply(c), `maquis.yaml:5: join.discovery[0]: kubernetes: Service and Selector are empty; name the headless service, or labels as in app=orders
maquis.yaml:1: channels.bulk: delivery AtLeastOnce and ordering Monotonic contradict each other; Monotonic alone brings the newest message of each key
maquis.yaml:4: channel_rules[1]: there is no channel "gossip"; there is data, bulk`)
}
