// Package flow keeps the order of messages between two nodes: the sending and
// the receiving end of a flow (origin, destination, channel, slot) as pure
// state, without clock, lock or memory of the messages themselves.
//
// Every message of a flow has a number. The receiver delivers only the next
// one, drops lower ones, and holds what comes early on a younger carrier, in
// bounded count, bytes and time. One report goes back, Update: next is an
// acknowledgement, credit a window, lost a loss report.
//
// A flow travels on a carrier: a link, later a next hop. A carrier loses
// nothing in its middle, only its tail when it dies. When it is replaced, the
// sender begins anew on the next one (Begin names the first number that will
// travel there), after it ended the old one in order (End) or after the old
// one died. Several carriers may be open at once: the receiver waits for a
// number as long as one of them can bring it, then gives it up and counts it.
// State outlives carriers: that is how order survives a reconnect.
//
// Modes differ only in what the sender keeps, see package channelmgr: nothing
// (fifo: what was written to a carrier that died and did not arrive is lost and
// counted), the newest message of each key (latest), all that is not confirmed
// (acked). What is kept goes behind the same numbers on the next carrier.
//
// Callers serialize access to each end.
package flow
