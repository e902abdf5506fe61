// Package faultnet runs clusters of real operating-system processes under
// faults and accounts for every message.
//
// The binary that uses it is a node, too: a Cluster starts it again, once for
// each node, and Run is then all that its main does. The parent gives orders
// as lines of JSON on a node's standard input; answers and events come back on
// its standard output. A node has an actor that answers, a sink of numbered
// messages, a subscriber of broadcasts, and a watcher of every other member.
//
// Faults come from a Bed. Wrapped puts transport.Faults around the processes'
// TCP connections and works everywhere; a namespace (build tag netns) drops
// packets and resets sockets in a private network of the kernel's; Links (the
// same tag) have each node in a namespace of its own, and emulated links of
// internal/linkemu, which delay, lose and limit packets, between them. Signals
// stop and kill processes in all of them.
//
// What is sent and what arrives is written to a ledger in a file, before it is
// sent and before it is acknowledged; so the books of a process that was
// killed are there, too. Audit compares them.
//
// It is for Linux: 127.0.0.0/8, signals and /proc.
package faultnet
