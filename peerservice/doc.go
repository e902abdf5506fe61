// Package peerservice runs the membership of a node: the supervisor and its
// parts, the hosts that drive the machines of package overlay, and the peer
// service manager that turns what the roster finds into sessions, dial rules,
// admission and events.
//
//	maquis                     the supervisor
//	├─ maquis/channels         the channel manager
//	├─ maquis/link$N           one per link
//	├─ maquis/roster           host of the roster
//	├─ maquis/stack-ID         host of an overlay with its broadcast tree and routes, one per overlay
//	├─ maquis/peers            the peer service manager
//	├─ maquis/broadcast        puts broadcasts in order and hands them on
//	└─ …                       parts that the application's layer adds
//
// A part that fails is restarted with a pause that grows; one that keeps
// failing ends the node visibly, it never runs on without a part. A message
// that killed a part twice is dropped when it comes again. What must outlive a
// restart is not kept in actors: links and sessions are the channel registry's,
// members the Service's. A host starts with a fresh machine, which is told what
// stands; the manager asks the roster for what it missed.
//
// What the roster finds is acted on in one order per node: the session of a
// life that is over ends, then its watches (Config.OnNodeGone), then the event
// is published.
package peerservice
