// Package libcluster is libcluster for Maquis: its configuration, strategies,
// supervisor and functions by their names and with their meaning
// (github.com/bitwalker/libcluster 3.5), over the strategies of package
// peerservice/discovery. An existing configuration, Elixir or YAML, starts.
//
// What differs, because libcluster connects every node to every other one and
// Maquis does not: connecting to a node means to join by it; when one has
// accepted, membership brings the rest, so a few candidates are dialed and not
// all. Listing nodes means members, whether or not there is a link. A source
// that fails or answers partially takes nobody away, and one that answers well
// does only where Topology.Prune says so.
//
// docs/from-libcluster.md says how options and node names translate.
package libcluster
