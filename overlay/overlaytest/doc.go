// Package overlaytest tests machines of package overlay. It imports none:
// machines arrive as factories.
//
//   - Script runs golden files: commands and what they print.
//   - World wires several nodes of machines with links in virtual time, and
//     cuts, stops, kills and restarts them.
//   - Recorder wraps one machine, writes down what goes in and comes out, and
//     checks invariants after each step.
//   - Drive feeds a machine random legal events.
//
// Lines of a trace read:
//
//	1.250s b <- a Join{}          b received a message from a
//	1.250s b -> c Join{}          b sent one to c
//	1.250s b set timer 10s        also: cancel, connect, disconnect, reject
//	1.250s b ! Up{a g1 v1}        b notified
package overlaytest
