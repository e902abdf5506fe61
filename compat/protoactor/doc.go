// Package protoactor lets protoactor's cluster (virtual actors, its pub/sub and
// its gossip) run over Maquis: members come from the roster, failures from its
// detection, and all messages travel on Maquis's channels. No gRPC connection
// is opened and no gRPC port stays open.
//
//	d, err := maquis.Start(ctx, system, …)
//	c := cluster.New(system, cluster.Configure("shop", protoactor.New(d), disthash.New(), protoactor.Remote(d), …))
//	c.StartMember()
//
// # How it fits together
//
// cluster.StartMember makes a remote of its own and starts it before it asks
// the provider, and that start listens and overwrites the address of the actor
// system (protoactor-go 2024-08, remote/server.go). Remote makes it listen on
// loopback and write the address that is there already; the provider then ends
// the remote, whose listener closes. PIDs of all nodes resolve to Maquis, whose
// resolver was registered first.
//
// With another remote configuration the provider puts the address back and
// keeps the remote's as an alias. That works, but for a moment protoactor
// changes, without a lock, an address that others read: prefer Remote.
//
// A member is announced by a tag, "maquis.protoactor", with the cluster's name,
// the kinds and the id; tags of a node have 1 KiB together. A node that is
// leaving takes no grains. A node that was wrongly declared down returns under
// another member id, since protoactor never lets one come back.
package protoactor
