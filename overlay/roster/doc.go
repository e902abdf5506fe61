// Package roster keeps what a node knows of all members: the one truth about
// who is in the cluster. It is a machine under the contract of package
// overlay; docs/protocols/roster.md has its rules as tables.
//
// A member's state moves alive → suspect → down or left. Down and left are
// final for a generation: only the owner refutes a suspicion (with a higher
// version) or returns (with a higher generation), and nothing old undoes
// either. Tombstones are remembered for a day.
//
// Spread: news go to all neighbors, and on from there once; digests are
// exchanged on every NeighborUp and now and then with a random neighbor, so
// that rosters converge even if every delta is lost.
//
// Failure: a link that was lost and cannot be dialed again is a suspicion.
// Whoever still has a link to the suspect passes the suspicion on to it, and
// its refutation travels back on live links: so one broken link declares
// nobody down. Without refutation in time the member is down. A node that was
// suspended itself accuses nobody until it has heard the others again.
//
// Heeds Start, Join, Leave, Resumed, Received, Fired, LinkUp, LinkDown,
// NeighborUp, NeighborDown and Command{SetTags, SetKinds, ForceLeave}.
// Notifies Up, Suspected, Cleared, Down, Left, Updated, SelfChanged,
// Joined, JoinFailed, NameTaken and LeaveDone.
package roster
