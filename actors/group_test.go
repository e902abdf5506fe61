package actors_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// agree waits until all running nodes see exactly these members of a group,
// each written "node/id".
func (w *world) agree(group string, want ...*actor.PID) {
	w.t.Helper()
	w.Until(time.Minute, func() error {
		for _, n := range w.Live() {
			if got := n.Group(group).Members(); !samePIDs(got, want) {
				return fmt.Errorf("%s sees %v in %q, not %v", n.Name(), got, group, want)
			}
		}
		return nil
	})
}

func samePIDs(a, b []*actor.PID) bool {
	names := func(list []*actor.PID) (out []string) {
		for _, p := range list {
			out = append(out, p.Address+"/"+p.Id)
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(names(a), names(b))
}

// Actors join and leave, stop, and end with their nodes; halves of a partition
// see their own and all after it; everybody agrees.
func TestGroupMembers(t *testing.T) {
	conformance(t, onePolicy, false, func(t *testing.T, w *world) {
		var probes []*actorstest.Probe
		var all []*actor.PID
		for _, n := range w.n {
			p := n.Probe()
			probes = append(probes, p)
			all = append(all, p.PID)
			require.NoError(t, n.Group("g").Join(p.PID))
			require.NoError(t, n.Group("g").Join(p.PID), "twice is once")
			require.True(t, samePIDs([]*actor.PID{p.PID}, n.Group("g").Local()), "at once")
		}
		w.agree("g", all...)
		w.n[1].Group("g").Leave(probes[1].PID)
		w.n[2].System.Root.Stop(probes[2].PID)
		w.agree("g", slices.Concat(all[:1], all[3:])...)
		w.n[3].Crash()
		w.agree("g", slices.Concat(all[:1], all[4:])...)
		w.n[3].Restart()
		w.Settle()
		q := w.n[3].Probe()
		require.NoError(t, w.n[3].Group("g").Join(q.PID))
		w.agree("g", slices.Concat(all[:1], all[4:], []*actor.PID{q.PID})...)
		require.NoError(t, w.n[6].Leave(ctxFor(t, time.Minute)))
		w.Until(time.Minute, func() error {
			for _, n := range w.n[:6] {
				if got := n.Group("g").Members(); !samePIDs(got, []*actor.PID{all[0], all[4], all[5], q.PID}) {
					return fmt.Errorf("%s sees %v", n.Name(), got)
				}
			}
			return nil
		})
	})
}

// What joined on either side of a partition, or while nobody heard, is known to
// all after it.
func TestGroupsAfterAPartition(t *testing.T) {
	for _, kind := range []string{maquis.FullMesh, maquis.HyParView, maquis.Scamp} {
		t.Run(kind, func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				w := &world{Cluster: c, t: t, kind: kind}
				for i := range conformanceNodes {
					w.start(i)
				}
				c.Settle()
				a, b := w.n[0].Probe(), w.n[6].Probe()
				require.NoError(t, w.n[0].Group("g").Join(a.PID))
				w.agree("g", a.PID)
				w.Partition(w.n[:3], w.n[3:])
				w.Settle()
				require.NoError(t, w.n[6].Group("g").Join(b.PID))
				w.Pass(5 * time.Minute)
				require.True(t, samePIDs(w.n[1].Group("g").Members(), []*actor.PID{a.PID}))
				require.True(t, samePIDs(w.n[4].Group("g").Members(), []*actor.PID{b.PID}))
				w.Heal()
				w.Settle()
				w.agree("g", a.PID, b.PID)
			})
		})
	}
}

// A message to a group crosses the network once for each node, and reaches each
// member once, in order.
func TestGroupPublish(t *testing.T) {
	conformance(t, onePolicy, true, func(t *testing.T, w *world) {
		var probes []*actorstest.Probe
		var all []*actor.PID
		for _, n := range w.n[2:5] {
			for range 4 {
				p := n.Probe()
				probes, all = append(probes, p), append(all, p.PID)
				require.NoError(t, n.Group("news").Join(p.PID))
			}
		}
		w.agree("news", all...)
		from := w.n[2]
		me := from.Probe()
		for i := range int64(20) {
			require.NoError(t, from.Group("news").Publish(wrapperspb.Int64(i), maquis.WithSender(me.PID)))
		}
		for _, p := range probes {
			for i := range int64(20) {
				require.Equal(t, i, actorstest.Expect[*wrapperspb.Int64Value](p, 20*time.Second).Value)
			}
			p.ExpectNone(10 * time.Millisecond)
		}
	})
}

func TestGroupPublishIsOneMessageANode(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		w := &world{Cluster: c, t: t, kind: maquis.FullMesh}
		for i := range 3 {
			w.start(i)
		}
		c.Settle()
		var all []*actor.PID
		var probes []*actorstest.Probe
		for i := range 90 {
			p := w.n[i%3].Probe()
			require.NoError(t, w.n[i%3].Group("g").Join(p.PID))
			all, probes = append(all, p.PID), append(probes, p)
		}
		w.agree("g", all...)
		var packets atomic.Int64
		remove := w.Intercept(func(k maquis.Packet) maquis.Verdict {
			if strings.HasSuffix(k.Type, "StringValue") {
				packets.Add(1)
			}
			return maquis.Pass
		})
		require.NoError(t, w.n[0].Group("g").Publish(text("once")))
		for _, p := range probes {
			actorstest.Expect[*wrapperspb.StringValue](p, time.Second)
		}
		require.EqualValues(t, 2, packets.Load())
		remove()
		require.NoError(t, w.n[0].Group("nobody").Publish(text("x")), "a group without members has none to miss it")
		require.ErrorIs(t, w.n[0].Group("g").Publish(make(chan int)), maquis.ErrNoCodec)
		// What is published while the last member leaves is nobody's.
		w.n[1].System.Root.Send(actor.NewPID("n1", "group$g"), text("y"))
	})
}

// Pick gives the same answer everywhere, spreads keys, and moves few when a
// member goes; none goes to a node that is leaving.
func TestGroupPick(t *testing.T) {
	hold := make(chan struct{})
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		hold = make(chan struct{})
		w := &world{Cluster: c, t: t, kind: maquis.FullMesh}
		for i := range 3 {
			if i == 2 {
				w.more = []maquis.Option{maquis.WithDrain(func(context.Context) error { <-hold; return nil })}
			}
			w.start(i)
		}
		c.Settle()
		require.Nil(t, w.n[0].Group("g").Pick("x"))
		var all []*actor.PID
		for i := range 6 {
			p := w.n[i%3].Probe()
			require.NoError(t, w.n[i%3].Group("g").Join(p.PID))
			all = append(all, p.PID)
		}
		w.agree("g", all...)
		const keys = 3000
		before := make([]*actor.PID, keys)
		hits := make(map[string]int)
		for i := range keys {
			before[i] = w.n[0].Group("g").Pick(fmt.Sprint(i))
			require.True(t, before[i].Equal(w.n[2].Group("g").Pick(fmt.Sprint(i))))
			hits[before[i].String()]++
		}
		for pid, n := range hits {
			require.InDelta(t, keys/6, n, 120, pid)
		}
		left := all[1]
		w.n[1].Group("g").Leave(left)
		w.agree("g", slices.Concat(all[:1], all[2:])...)
		for i, p := range before {
			if !p.Equal(left) {
				require.True(t, p.Equal(w.n[0].Group("g").Pick(fmt.Sprint(i))))
			}
		}
		done := make(chan error, 1)
		go func() { done <- w.n[2].Leave(ctxFor(t, time.Minute)) }()
		away := w.n[2].Self().Name
		w.Until(time.Minute, func() error {
			for i := range keys {
				if p := w.n[0].Group("g").Pick(fmt.Sprint(i)); strings.HasPrefix(p.Address, away+"~") {
					return fmt.Errorf("%v is chosen", p)
				}
			}
			return nil
		})
		require.Len(t, w.n[0].Group("g").Members(), 5, "it is leaving, not gone")
		close(hold)
		require.NoError(t, <-done)
	})
}

// Events tell what Members tells.
func TestGroupEvents(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		w := &world{Cluster: c, t: t, kind: maquis.HyParView}
		for i := range 3 {
			w.start(i)
		}
		c.Settle()
		p := w.n[0].Probe()
		w.n[0].SubscribeMembership(p.PID)
		actorstest.Expect[*maquis.Snapshot](p, time.Second)
		a, b := w.n[0].Probe(), w.n[2].Probe()
		require.NoError(t, w.n[0].Group("g").Join(a.PID))
		e := actorstest.Expect[*maquis.GroupChanged](p, time.Second)
		require.Equal(t, "g", e.Group)
		require.True(t, samePIDs([]*actor.PID{a.PID}, e.Joined))
		require.NoError(t, w.n[2].Group("g").Join(b.PID))
		e = actorstest.Expect[*maquis.GroupChanged](p, 10*time.Second)
		require.True(t, samePIDs([]*actor.PID{b.PID}, e.Joined))
		w.n[2].Crash()
		for {
			switch e := actorstest.Expect[maquis.Event](p, 30*time.Second).(type) {
			case *maquis.NodeDown:
				require.Equal(t, "n2", e.Member.Name)
				left := actorstest.Expect[*maquis.GroupChanged](p, time.Second)
				require.True(t, samePIDs([]*actor.PID{b.PID}, left.Left))
				return
			case *maquis.NodeSuspect:
			default:
				t.Fatalf("%T", e)
			}
		}
	})
}

func TestGroupRefuses(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b := c.Start("a", nil), c.Start("b", nil)
		c.Settle()
		p, q := a.Probe(), b.Probe()
		require.ErrorContains(t, a.Group("g").Join(q.PID), "no actor of this node")
		require.ErrorIs(t, a.Group("g").Join(actor.NewPID(a.System.Address(), "nobody")), maquis.ErrDeadLetter)
		require.ErrorContains(t, a.Group("").Join(p.PID), "1 to 255 bytes")
		require.ErrorContains(t, a.Group(strings.Repeat("g", 256)).Join(p.PID), "1 to 255 bytes")
		a.Group("g").Leave(p.PID)
		a.Group("g").Leave(q.PID)
		require.Empty(t, a.Group("g").Members())
		// A group is no actor: watching it ends at once, from here and elsewhere.
		require.NoError(t, a.Group("g").Join(p.PID))
		for _, n := range []*actorstest.Node{a, b} {
			w := n.Probe()
			pid := n.PID("a", "group$g")
			w.Watch(pid)
			require.Equal(t, actor.TerminatedReason_NotFound, w.ExpectTerminated(pid, 5*time.Second))
		}
		a.Crash()
		require.ErrorIs(t, a.Group("g").Join(p.PID), maquis.ErrStopped)
		require.ErrorIs(t, a.Group("g").Publish(text("x")), maquis.ErrStopped)
	})
}
