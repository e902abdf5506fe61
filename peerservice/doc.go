// Package peerservice runs the membership of a node: the supervisor and its
// parts, the hosts that drive the machines of package overlay, and the peer
// service manager that turns what the roster finds into sessions, dial rules,
// admission and events.
//
//	maquis                     the supervisor
//	├─ maquis/channels         the channel manager
//	├─ maquis/link$N           one per link
//	├─ maquis/roster           host of the roster
//	├─ maquis/stack-main       host of the overlay
//	├─ maquis/peers            the peer service manager
//	└─ …                       parts that the application's layer adds
//
// A part that fails is restarted with a pause that grows; one that keeps
// failing ends the node visibly, it never runs on without a part. What must
// outlive a restart is not kept in actors: links and sessions are the channel
// registry's, members the Service's.
package peerservice
