// Package causal keeps messages in causal order, as pure state: those between any
// nodes with one number per message whatever the number of nodes, see Sender and
// Queue, and broadcasts, see Casts.
//
// A message happens before another if its sender had sent or been handed the
// one before it sent the other, or through a chain of such. If both go to one
// node, that node is handed them in that order: B gets A→B before C→B if C was
// handed A→C, sent after it.
//
// It follows from three rules. A node takes what arrives for it in one queue,
// in the order of arrival, from all nodes. Messages between two nodes arrive in
// the order in which they were sent. And a message is handed over only when all
// that its sender had sent to others before has arrived there, which the sender
// knows from their reports and tells. For if A sent m to D and then p to C, C is
// handed p only when m is in D's queue, and what C sends to D because of p comes
// into that queue behind m.
//
// The rule is that of the sender's permission to send (Mattern and Fünfrocken
// 1995; Almeida 2026, arXiv 2601.11487), but for a difference: a message is sent
// at once and waits at its receiver. So streams to several nodes do not pause for
// a round trip at each change of target, and the wait is short: the
// report and the word of it. A message carries the number of the last one that it
// waits for, counted over all that its sender sent, or zero.
//
// What cannot arrive holds nobody up: messages to a node that is gone count as
// arrived, and those from a node that is gone wait for nothing.
//
// Broadcasts have an order of their own, Casts: there a message names what it comes
// after, as far as nothing else implies that.
package causal
