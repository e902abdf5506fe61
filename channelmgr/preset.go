package channelmgr

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ParallelLanes is what the seed design's parallel_dispatch: true stands for,
// our choice. parallel_dispatch: false is one lane.
const ParallelLanes = 4

// presets are sets of channels by name. They come beside data, which every node
// has.
var presets = map[string][]ChannelSpec{
	// Foundation.Distributed.Channels. Its max_connections are lanes, its
	// buffer_size is the bound on messages.
	"foundation": {
		{Name: "coordination", Priority: High, Lanes: 3, MaxQueueLen: 1000, Delivery: AtLeastOnce},
		{Name: "events", Lanes: 2, MaxQueueLen: 5000, Delivery: AtLeastOnce},
		{Name: "gossip", Priority: Low, Lanes: 1, MaxQueueLen: 5000},
	},
	// The seed design's configuration of Partisan.
	"planes": {
		{Name: "control_plane", Priority: High, Lanes: ParallelLanes, MaxQueueLen: 1000},
		{Name: "data_plane", Lanes: 1, MaxQueueLen: 5000},
	},
}

// Preset returns the channels of a preset: "foundation" or "planes".
func Preset(name string) ([]ChannelSpec, error) {
	specs, ok := presets[name]
	if !ok {
		return nil, fmt.Errorf("channelmgr: channel preset %q: use one of %s", name, strings.Join(slices.Sorted(maps.Keys(presets)), ", "))
	}
	return slices.Clone(specs), nil
}
