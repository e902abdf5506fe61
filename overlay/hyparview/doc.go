// Package hyparview is the membership of partial views by Leitão, Pereira and
// Rodrigues (HyParView, DSN 2007; section numbers are of the technical report
// DI-FCUL TR-07-13): a small symmetric active view, whose members are held by
// sessions and are this node's neighbors, and a larger passive view to repair
// it from.
//
// Two things are not as in the paper, and the rest follows from them:
//
//   - Whoever must give up a neighbor for another tells it to turn to that one
//     (HyparDisconnect.Instead), and the newcomer keeps a place for it: an edge
//     a-b becomes a-c-b. A join never cuts the graph, where the paper's can
//     leave islands.
//   - Nobody gives anybody up unasked: a walk's end offers its place and the
//     newcomer takes what it has room for.
//
// All deviations are in docs/protocols/hyparview.md.
//
// Heeds Start, Join, Leave, Resumed, MemberUp, MemberDown, LinkUp, LinkDown,
// Received and Fired. Notifies overlay.NeighborUp and overlay.NeighborDown.
package hyparview
