package config

// Words of the schema, in the order in which they are shown.
var (
	Profiles      = []string{"dev", "test", "prod"}
	SecurityModes = []string{"secret", "mtls", "insecure"}
	Presets       = []string{"local", "lan", "wan"}
	Policies      = []string{"direct", "relay", "adaptive"}
	Kinds         = []string{"fullmesh", "hyparview", "xbot", "scamp", "clientserver", "static"}
	Priorities    = []string{"medium", "high", "low"}
	Deliveries    = []string{"at_most_once", "at_least_once"}
	Orderings     = []string{"fifo", "monotonic", "causal"}
	Overflows     = []string{"block", "reject", "drop_oldest", "drop_newest"}
	ChannelSets   = []string{"foundation", "planes"}
	Compressions  = []string{"none", "s2", "zstd"}
)

// most bounds numbers that have no bound of their own.
const most = 1 << 30

// schema returns the keys of a cluster file, bound to this Config.
func (c *Config) schema() []key {
	return append([]key{
		word("profile", &c.Profile, "what the file is laid over: dev for nodes of one machine, test for those of a test, prod for clusters", Profiles, nil),
		text("cluster", &c.Cluster, "the cluster's name; nodes of other names are refused", short),
		section("node", "this node",
			text("name", &c.Node.Name, "unique in the cluster; unset: the host's name, with the port behind it if that is not 6278", NodeName),
			text("version", &c.Node.Version, "of the application, for other members to see", short),
			text("listen", &c.Node.Listen, "address to listen on, host:port; of host:first-last the first free port is taken", ListenAddress),
			texts("advertise", &c.Node.Advertise, "addresses that peers are told to dial, best first; auto or unset: POD_IP, else an address of this host", advertised),
			texts("aliases", &c.Node.Aliases, "further addresses under which PIDs may name this node, host:port", Contact),
			pairs("tags", &c.Node.Tags, "what other members see of this node", tagName).isLive(),
		),
		c.security(),
		section("join", "how other nodes are found",
			texts("seeds", &c.Join.Seeds, "contacts that are called until they answer, host:port", Contact).isLive(),
			whole("expected_members", &c.Join.ExpectedMembers, 0, most, "the node is ready when it knows so many members, itself included").isLive(),
			c.discovery(),
		),
		section("failure", "how fast a loss is seen",
			word("preset", &c.Failure.Preset, "times of suspicion: local for one machine, lan, wan", Presets, nil),
			span("heartbeat", &c.Failure.Heartbeat, "between pings on a quiet control link"),
			span("silent_after", &c.Failure.SilentAfter, "a control link that brought nothing for so long has ended"),
		),
		section("links", "times of connections",
			span("dial_timeout", &c.Links.DialTimeout, "of one dial"),
			span("handshake_timeout", &c.Links.HandshakeTimeout, "of a handshake, all of it"),
			span("write_timeout", &c.Links.WriteTimeout, "a write that makes no progress for so long ends the link"),
			span("backoff_min", &c.Links.BackoffMin, "first pause between dials that fail"),
			span("backoff_max", &c.Links.BackoffMax, "longest pause between dials that fail"),
			span("idle_after", &c.Links.IdleAfter, "a data link without traffic for so long is closed"),
			toggle("short_queues", &c.Links.ShortQueues, "bulk that fills a line leaves its queue short, for what is small beside it; Linux only"),
		),
		entries("overlays", &c.Overlays, false, "main", "membership overlays; news and broadcasts go over the first", func(o *Overlay) *string { return &o.ID }, (*Overlay).keys),
		later("topology", "changes of the overlay with the cluster's size"),
		section("routing", "how nodes without a link are reached",
			word("policy", &c.Routing.Policy, "direct dials first, relay never dials beyond the overlays, adaptive dials for those with much traffic, or to whom no way is known or leads; unset: direct on a full mesh, else adaptive", Policies, nil),
			whole("max_shortcuts", &c.Routing.MaxShortcuts, 1, most, "links that adaptive opens beyond the overlays at most"),
			whole("max_hops", &c.Routing.MaxHops, 2, 255, "links that a way over relays has at most; unset: 32"),
		),
		entries("channels", &c.Channels, true, "", "named channels beside data", func(ch *Channel) *string { return &ch.Name }, (*Channel).keys).isLive(),
		word("channel_preset", &c.ChannelPreset, "a set of channels, under those of channels: foundation has coordination, gossip, events; planes has control_plane, data_plane", ChannelSets, nil).isLive(),
		rules(&c.ChannelRules).isLive(),
		section("limits", "bounds of the link layer",
			size("max_message", &c.Limits.MaxMessage, "of one encoded message").isLive(),
			whole("max_handshakes", &c.Limits.MaxHandshakes, 1, most, "in progress at once"),
			whole("max_links_per_peer", &c.Limits.MaxLinksPerPeer, 1, most, "links with one peer").isLive(),
			whole("max_connections", &c.Limits.MaxConnections, 1, most, "links with all peers: with so many no lane and no shortcut is opened, and who has no link yet is refused").isLive(),
			whole("control_backlog", &c.Limits.ControlBacklog, 1, most, "frames that wait for the overlays, and for each peer").isLive(),
			size("max_assembly", &c.Limits.MaxAssembly, "of partly received large messages of one peer").isLive(),
			whole("dictionary_size", &c.Limits.DictionarySize, 1, most, "types, targets and senders remembered by a link and direction"),
			whole("reserved_queue_len", &c.Limits.ReservedQueueLen, 1, most, "room in a lane for the runtime's messages beyond the channel's bound").isLive(),
		),
		later("http", "addresses of probes and of administration"),
	}, c.libcluster()...)
}

func (c *Config) discovery() key {
	k := strategies("discovery", &c.Join.Discovery, "strategies that find contacts, each a mapping of its name to its options")
	k.entry = strategyDocs()
	return k
}

func (c *Config) security() key {
	s := section("security", "how links are secured",
		word("mode", &c.Security.Mode, "secret: TLS from a shared secret; mtls: TLS with certificates; insecure: in clear, on loopback only. Unset: by the other keys", SecurityModes, nil),
		secrets("secrets", &c.Security.Secrets, "the first is used, all are accepted; file:PATH or env:NAME").isLive(),
		file("cert_file", &c.Security.CertFile, "this node's certificate, PEM; read again when it changes"),
		file("key_file", &c.Security.KeyFile, "its key, PEM"),
		file("ca_file", &c.Security.CAFile, "the authorities whose certificates are accepted, PEM"),
	)
	s.same = map[string]rename{"secret": {to: "secrets"}}
	return s
}

// keys are the keys of an overlay; those below config belong to its kind.
func (o *Overlay) keys() ([]key, map[string]rename) {
	settings := section("config", "settings of the kind",
		whole("active_size", &o.Active, 1, most, "neighbors of a node (hyparview, xbot); unset: 5"),
		whole("passive_size", &o.Passive, 1, most, "nodes remembered in reserve (hyparview, xbot); unset: 30"),
		whole("arwl", &o.ARWL, 1, 64, "length of the walks of joins (hyparview, xbot); unset: 6"),
		whole("prwl", &o.PRWL, 1, 64, "where on them a node is put in reserve (hyparview, xbot); unset: 3"),
		span("shuffle", &o.Shuffle, "time between exchanges of nodes in reserve (hyparview, xbot); unset: 10s"),
		whole("c", &o.Copies, 1, 64, "copies of a subscription beyond the view (scamp); unset: 3"),
		texts("servers", &o.Servers, "names of the servers, the same on all nodes (clientserver)", NodeName),
		texts("neighbors", &o.Neighbors, "names of this node's neighbors (static)", NodeName),
		texts("reserve", &o.Reserve, "tag=value: for each a place in the active view that is kept for nodes with one of these tags (hyparview, xbot)", reservation),
	)
	settings.same = overlaySettings
	return []key{
		label("id", &o.ID, "names the overlay on the wire and in logs; unset: main", short),
		word("kind", &o.Kind, "the protocol", Kinds, nil),
		settings,
	}, overlayNames
}

// keys are the keys of a channel.
func (ch *Channel) keys() ([]key, map[string]rename) {
	return []key{
		label("name", &ch.Name, "names the channel; data is what messages travel on unless told otherwise", short),
		whole("lanes", &ch.Lanes, 1, 16, "ordered streams to a peer at most; unset: 4, or 1 if monotonic or drop_oldest"),
		word("priority", &ch.Priority, "among channels that share a link", Priorities, nil),
		word("delivery", &ch.Delivery, "what happens to a message on a link that breaks", Deliveries, deliveryWords),
		word("ordering", &ch.Ordering, "which messages keep their order", Orderings, map[string]string{"latest_wins": "monotonic"}),
		whole("max_queue_len", &ch.MaxQueueLen, 1, most, "messages that wait in a lane; unset: 65536"),
		size("max_queue_bytes", &ch.MaxQueueBytes, "bytes that wait in a lane; unset: 16MiB"),
		word("overflow", &ch.Overflow, "what a send does when the lane is full", Overflows, nil),
		span("block_timeout", &ch.BlockTimeout, "how long block waits; unset: 5s"),
		word("compression", &ch.Compression, "of what travels on it", Compressions, nil),
		text("overlay", &ch.Overlay, "id of the overlay that it goes over; unset: the first", short),
		texts("types", &ch.Types, "protobuf names of messages that travel on it unless a send says otherwise", nil),
	}, channelNames
}
