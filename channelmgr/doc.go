// Package channelmgr carries frames between nodes. It owns the sessions with
// peers, their links, the named channels with their lanes, and the flows that
// keep order.
//
// A session is everything between this node and one life of a peer: a control
// link, and data links that are opened when a lane has something to send and
// closed when they idle. A lane is a channel's ordered queue towards a peer;
// which link carries it is a local map at the origin. A flow (origin,
// destination, channel, slot) numbers its messages; its state outlives links,
// so that order survives a reconnect.
//
//	sender goroutine ─▶ Session.Send ─▶ lane (marshal into its buffer) ─▶ writer ─▶ link
//	link ─▶ reader (parse in place, flow order, decode) ─▶ Receiver.Receive ─▶ mailbox
//
// The Registry holds sockets, sessions and flows; the manager actor and one
// actor per link own their life cycle and may be restarted without harm to
// what the registry holds. The data path has no actor in it and no lock that
// all senders share.
//
// What blocks: only Session.Send without NoBlock, when a lane's queue or its
// flow's window is full, and for a bounded time. Runtime goroutines never wait
// on a lane: they have reserved room, beyond which they are refused, counted.
// Heartbeats, flow updates and control frames travel on the control link,
// whose reader never posts to a mailbox that may block.
package channelmgr
