// Package overlay is the kernel on which every protocol of Maquis is
// written: membership, overlays, broadcast trees, routes. A protocol is a
// Machine, a state machine without input or output of its own: it has no
// goroutine, clock, socket, lock or logger. A driver (a host actor in a
// running node, the simulator in a test) feeds it events and executes the
// effects that it writes.
//
// # The contract
//
//  1. Step is the only door. One driver calls it, one call at a time. It
//     never blocks, never calls out, and never panics on what a peer sent.
//  2. The driver executes all effects of a Step, in the order written,
//     before the next Step. Effects belong to the driver; a machine keeps no
//     reference to them.
//  3. There is at most one timer per key. SetTimer replaces; a timer that was
//     replaced or cancelled is never delivered.
//  4. Connect takes a hold on the session with a peer and is answered by
//     exactly one LinkUp (at once if the session is up) or LinkDown.
//     Disconnect releases the hold after earlier sends were flushed and is
//     not answered; the session closes after its last hold and an idle time.
//     The death of a session is LinkDown to every holder, after which the
//     hold is gone. An inbound session is LinkUp without Connect and counts
//     as a hold of the overlay that its first frame names. Send without a
//     hold dials, sends and idles out. Of two simultaneous dials the one by
//     the smaller (name, incarnation) wins, decided before either LinkUp.
//  5. Sends of one overlay to one peer arrive in order or not at all. Loss is
//     silent unless the link goes down.
//  6. A message is immutable from the moment it is sent or received.
//  7. The same configuration, seed and events give the same effects, byte for
//     byte: no map is ranged over on the way to an effect.
//  8. What is of an older generation than the one known is ignored.
//  9. A peer's bad input becomes Reject with a typed reason; every duration,
//     hop count, size and index that comes from a peer is clamped at the
//     border. A broken invariant of our own panics, and the supervisor
//     restarts the host.
//
// A driver whose timer fires much too late, because the process was
// suspended or starved, feeds Resumed before anything else: machines restart
// their deadlines before they accuse anyone.
//
// Machines have a stable String for golden files and a Check for their
// invariants; both are called after every step in simulation and under the
// build tag invariants.
package overlay
