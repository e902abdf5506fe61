// Package sim runs the very machines of a running node, ten thousand and more
// of them, in virtual time: one heap of events, one goroutine, no clock. The
// same Config and the same calls give the same run, event for event, which the
// trace hash shows.
//
// A World drives machines by the contract of package overlay: sessions and
// holds, timers by key, messages in order on each link. Links follow a Model
// (latency, jitter, loss, rate and window); faults are its verbs: Crash,
// Restart, Partition, Cut, Heal, Suspend, Release, Slow, Lose, Flap.
//
// What the papers measure is measured as they define it: see Graph and
// Broadcast.
package sim
