// Package actorstest runs clusters of nodes inside one test, with the code that
// runs in production, and lets the test cut, slow and crash them.
//
//	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
//		a, b := c.Start("a", nil), c.Start("b", boot) // boot: what main does after Start
//		c.Settle()
//		p := a.Probe()
//		p.Request(a.PID("b", "greeter"), wrapperspb.String("hello"))
//		actorstest.Expect[*wrapperspb.StringValue](p, time.Second)
//	})
//
// Run is on virtual time: a test of a minute takes milliseconds, in a bubble of
// testing/synctest, over a network in memory. RunReal has the same verbs on the
// clock of the machine, over TCP with TLS on loopback.
//
// What virtual time cannot do: real input and output in an actor stops it;
// actor.Bounded mailboxes hang the test (a full one spins); one node cannot be
// suspended by itself, since all have one clock; time begins in the year 2000,
// so certificates in files are not valid yet. Use RunReal for those.
//
// A schedule of faults repeats with its seed; the order in which goroutines run
// does not.
package actorstest
