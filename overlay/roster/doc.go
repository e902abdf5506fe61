// Package roster keeps what a node knows of all members: the one truth about
// who is in the cluster. It is a machine under the contract of package
// overlay, one per node; docs/protocols/roster.md has its rules as tables.
//
// A member's state moves alive → suspect → down or left. Down and left are
// final for a generation: only the owner refutes a suspicion (with a higher
// version) or returns (with a higher generation), and nothing old undoes
// either. Tombstones are remembered for a day.
//
//	   b's link to c breaks          a has a link to c            c lives
//	b ──── do you have a link? ────▶ a
//	b ◀──────────── yes ──────────── a                      nobody is accused
//	b ──────── c is suspect ───────▶ a ──── you are suspect ────▶ c
//	b ◀──────── version + 1 ──────── a ◀─────── version + 1 ───── c
//
// Spread: news go to all neighbors, and on from there once; digests are
// exchanged on every NeighborUp and now and then with a random neighbor (root,
// then buckets, then records), so that rosters converge even if all news are
// lost. Records travel as the bytes that their owners made.
//
// Failure: when a link is lost and its redial refused, or a time has passed,
// neighbors are asked whether they have a link. If none has, the member is
// suspect. Whoever has a link to a suspect passes the suspicion on to it, and
// its refutation travels back over live links: so one broken link declares
// nobody down. Without refutation in time the member is down. A node that was
// suspended or starved accuses nobody until it had time to hear the others.
//
// Heeds Start, Join, Leave, Resumed, Received, Fired, LinkUp, LinkDown,
// NeighborUp, NeighborDown and Command{SetTags, SetKinds, SetLeaving,
// SetRecord, ForceLeave}. Notifies Up, Suspected, Cleared, Down, Gone,
// Updated, SelfChanged, Joined, JoinFailed, NameTaken, Isolated, NotIsolated
// and LeaveDone.
//
// The driver feeds NeighborUp and NeighborDown from its overlays, the latter
// also for redials that failed, with their reasons; it uses SelfChanged's
// generation in handshakes and Admit as their rule; on Down and Gone it ends
// the session with that life up to its generation.
//
// It is not a failure detector of links: transport tells when one is silent.
// Nor does it decide who is dialed, but for contacts and, now and then, a
// member that is down: that is the overlays' part.
package roster
