// Package actors is what applications import; docs and examples always import
// it as maquis:
//
//	import maquis "github.com/maquis-go/maquis/actors"
//
//	node, err := maquis.Start(ctx, system, maquis.WithSecret(secret), maquis.WithSeeds("10.0.0.7:6278"))
//
// From then on a PID of an actor on another node just works: Send, Request,
// RequestFuture, Watch, Stop and Poison of protoactor, routers and middleware
// are unchanged. What did not arrive is published as Undelivered with its
// reason, and fails futures at once.
package actors
