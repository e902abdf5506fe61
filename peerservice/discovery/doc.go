// Package discovery finds addresses at which nodes of the cluster may be.
//
// A Strategy asks one source (a file, DNS, the Kubernetes API, the local
// network) and emits a Snapshot whenever it has learnt something. What it
// finds are candidates, never members: an introducer dials a few of them
// (package introduce) and the member list is the truth.
//
// # Errors and partial answers
//
// A snapshot is one of three things. Without Partial and Err it is the whole
// answer of the source, be it empty. With Partial it is known to lack some.
// With Err the source did not answer; Candidates then holds what is known
// nevertheless, mostly nothing. A consumer keeps its last good candidates when
// it is told of an error or a partial answer, adds what is new, and takes
// nothing away: an outage of the source must not look like the end of the
// cluster. Strategies hold no such memory for it, with the exception of Merge
// and Fallback, which need one of their own.
//
// # Pace
//
// A node that has joined needs little of its sources: now and then an answer,
// in which it may find the other half of a divided cluster. A consumer says so
// by the Pace in the context. Without one, strategies ask as if the node were
// alone.
//
// The package imports nothing else of ours.
package discovery
