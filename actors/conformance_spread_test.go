package actors_test

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// P-25: a broadcast reaches all, once, in the order of its origin, also after a
// partition has healed.
func TestP25Broadcast(t *testing.T) {
	conformance(t, onePolicy, true, func(t *testing.T, w *world) {
		var probes []*actorstest.Probe
		for _, n := range w.n {
			p := n.Probe()
			_, err := n.SubscribeBroadcast("data", p.PID)
			require.NoError(t, err)
			probes = append(probes, p)
		}
		for i := range int64(20) {
			require.NoError(t, w.n[3].Broadcast("data", wrapperspb.Int64(i)))
		}
		for _, p := range probes {
			for i := range int64(20) {
				require.Equal(t, i, actorstest.Expect[*wrapperspb.Int64Value](p, 20*time.Second).Value)
			}
			p.ExpectNone(10 * time.Millisecond)
		}
		_, err := w.n[0].SubscribeBroadcast("nowhere", probes[0].PID)
		require.ErrorIs(t, err, maquis.ErrUnknownChannel)
		require.ErrorIs(t, w.n[0].Broadcast("nowhere", text("x")), maquis.ErrUnknownChannel)
	})
}

// P-26: what is relayed goes in no circles.
func TestP26NoLoops(t *testing.T) {
	conformance(t, []string{"relay"}, false, func(t *testing.T, w *world) {
		for _, a := range w.n {
			p := a.Probe()
			for _, b := range w.n {
				if a != b {
					p.Request(a.PID(b.Name(), "echo"), text("x"))
					actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second)
				}
			}
		}
		for _, n := range w.n {
			require.Zero(t, n.Stats()["relay_loops"], n.Name())
		}
	})
}

// P-27: watches: an actor that stops, that never was, whose node ends; ended by
// Unwatch; told once and after what was sent before.
func TestP27Watch(t *testing.T) {
	conformance(t, allPolicies, true, func(t *testing.T, w *world) {
		a, b := w.n[1], w.n[4]
		p := a.Probe()
		spawn := func(name string) *actor.PID {
			pid, err := b.System.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				if m, ok := c.Message().(*wrapperspb.StringValue); ok {
					for i := range int64(50) {
						c.Send(c.Sender(), wrapperspb.Int64(i))
					}
					_ = m
					c.Stop(c.Self())
				}
			}), name)
			require.NoError(t, err)
			return pid
		}
		stops, ends, not := spawn("stops"), spawn("ends"), spawn("not")
		p.Watch(stops)
		p.Watch(ends)
		p.Watch(not)
		p.Unwatch(not)
		w.Pass(500 * time.Millisecond)
		p.Request(stops, text("stop"))
		// In a mailbox system messages go first, as everywhere in protoactor.
		require.Equal(t, actor.TerminatedReason_Stopped, p.ExpectTerminated(stops, 10*time.Second))
		for i := range int64(50) {
			require.Equal(t, i, actorstest.Expect[*wrapperspb.Int64Value](p, 10*time.Second).Value)
		}
		nobody := a.PID("n4", "nobody")
		p.Watch(nobody)
		require.Equal(t, actor.TerminatedReason_NotFound, p.ExpectTerminated(nobody, 10*time.Second))
		b.Crash()
		require.Equal(t, actor.TerminatedReason_AddressTerminated, p.ExpectTerminated(ends, 20*time.Second))
		p.ExpectNone(time.Second)
	})
}
