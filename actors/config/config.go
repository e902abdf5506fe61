package config

import "time"

// Config is what a node is to be: a layer of it, or the layers together. It is
// not safe for concurrent use while it is being filled.
type Config struct {
	Profile  string
	Cluster  string
	Node     Node
	Security Security
	Join     Join
	Failure  Failure
	Links    Links
	Overlays []Overlay
	Routing  Routing
	Channels []Channel

	ChannelPreset string
	ChannelRules  []Rule

	Limits     Limits
	Libcluster Libcluster

	origins origins // of what is set
}

// Node is this node.
type Node struct {
	Name      string
	Version   string // of the application
	Listen    string // host:port, or host:first-last
	Advertise []string
	Aliases   []string
	Tags      map[string]string
}

// Security says how links are secured.
type Security struct {
	Mode                      string // one of SecurityModes
	Secrets                   []Secret
	CertFile, KeyFile, CAFile string
}

// Join says how other nodes are found.
type Join struct {
	Seeds           []string // host:port
	ExpectedMembers int
	Discovery       []Strategy
}

// Failure holds what decides how fast a loss is seen.
type Failure struct {
	Preset                 string // local, lan or wan
	Heartbeat, SilentAfter time.Duration
}

// Links holds the other durations of the link layer.
type Links struct {
	DialTimeout, HandshakeTimeout, WriteTimeout, BackoffMin, BackoffMax, IdleAfter time.Duration
	ShortQueues                                                                    bool
}

// Overlay is a membership overlay; which settings it has depends on its kind.
type Overlay struct {
	ID, Kind           string
	Active, Passive    int           // sizes of views
	ARWL, PRWL         int           // lengths of walks
	Shuffle            time.Duration // time between shuffles
	Copies             int           // SCAMP's c
	Servers, Neighbors []string      // names of nodes
	Reserve            []string      // "tag=value", a place for each
}

// Routing says how nodes without a link are reached.
type Routing struct {
	Policy       string
	MaxShortcuts int
	MaxHops      int
}

// Channel is a named channel. The words of Priority to Compression are those
// of the file.
type Channel struct {
	Name                                                string
	Lanes                                               int
	Priority, Delivery, Ordering, Overflow, Compression string
	MaxQueueLen                                         int
	MaxQueueBytes                                       int
	BlockTimeout                                        time.Duration
	Overlay                                             string
	Types                                               []string
}

// Limits are bounds of the link layer.
type Limits struct {
	MaxMessage, MaxHandshakes, MaxLinksPerPeer, MaxConnections, ControlBacklog, MaxAssembly, DictionarySize, ReservedQueueLen int
}

// newConfig makes an empty layer.
func newConfig() *Config { return &Config{origins: make(origins)} }

// Origin returns where the value at a path came from: node.name,
// channels.bulk.lanes, node.tags.zone. The path of a section or list is that of
// what was set in it first.
func (c *Config) Origin(path string) (Origin, bool) {
	o, ok := c.origins[path]
	return o, ok
}
