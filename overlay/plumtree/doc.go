// Package plumtree is broadcast over trees that are embedded in an overlay's
// links, by Leitão, Pereira and Rodrigues (Epidemic Broadcast Trees, SRDS 2007;
// section numbers are of the technical report DI-FCUL TR-07-14). A payload goes
// along the eager links of a tree, announcements go along all others; who
// misses a payload that was announced asks for it, and so mends the tree.
//
// Two things are not as in the paper, which has one tree for all:
//
//   - A node that sends often has a tree of its own, whose paths are the
//     shortest since its first message was flooded. The number of trees is
//     bounded.
//   - A node that sends seldom uses the tree of another: its message is brought
//     to that tree's root, which need not be a neighbor, and goes from there the
//     shortest ways that there are. If it does not come back soon, it goes out
//     from its sender, and for its first few hops along all links: it comes upon
//     the tree at many places at once. A duplicate from another of those places
//     is no sign of a cycle and prunes nothing.
//
// All deviations are in docs/protocols/plumtree.md.
//
// The machine is an overlay.Layer. It heeds Start, NeighborUp, NeighborDown,
// Publish, Leave, Received and Fired, and notifies overlay.Delivered once for
// each message, at its origin, too, and overlay.Carry.
package plumtree
