package actors_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

func specNamed(d *maquis.Distribution, name string) (maquis.ChannelSpec, bool) {
	for _, c := range d.Channels() {
		if c.Name == name {
			return c, true
		}
	}
	return maquis.ChannelSpec{}, false
}

// A channel is added, changed and removed on all nodes; one that joins later
// learns it, one that was cut off when it is back.
func TestSetChannelEverywhere(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b, x := c.Start("a", nil), c.Start("b", nil), c.Start("x", nil)
		c.Settle()
		everywhere := func(lanes int, nodes ...*actorstest.Node) {
			t.Helper()
			c.Until(time.Minute, func() error {
				for _, n := range nodes {
					if spec, _ := specNamed(n.Distribution, "bulk"); spec.Lanes != lanes {
						return fmt.Errorf("on %s bulk has %d lanes", n.Name(), spec.Lanes)
					}
				}
				return nil
			})
		}
		ctx := context.Background()
		require.NoError(t, a.SetChannel(ctx, maquis.ChannelSpec{Name: "bulk", Lanes: 2}))
		everywhere(2, a, b, x)
		late := c.Start("late", nil)
		everywhere(2, late)
		require.NoError(t, late.SetChannel(ctx, maquis.ChannelSpec{Name: "bulk", Lanes: 3, Types: []string{"google.protobuf.Int32Value"}}))
		everywhere(3, a, b, x, late)

		c.Partition([]*actorstest.Node{a, b}, []*actorstest.Node{x, late})
		c.Pass(2 * time.Minute) // longer than what the tree makes good
		require.NoError(t, b.SetChannel(ctx, maquis.ChannelSpec{Name: "bulk", Lanes: 4}))
		require.NoError(t, x.SetChannel(ctx, maquis.ChannelSpec{Name: "other"}))
		everywhere(4, a, b)
		everywhere(3, x, late)
		c.Heal()
		c.Settle()
		everywhere(4, a, b, x, late)
		for _, n := range []*actorstest.Node{a, b} {
			_, ok := specNamed(n.Distribution, "other")
			require.True(t, ok)
		}
		require.NoError(t, x.RemoveChannel(ctx, "bulk"))
		everywhere(0, a, b, x, late)
		require.ErrorIs(t, a.ForwardMessage(a.PID("b", "y"), wrapperspb.Int32(1), maquis.WithChannel("bulk")), maquis.ErrUnknownChannel)
	})
}

// Under load a channel is changed, removed and added again: what was accepted
// arrives, in order.
func TestSetChannelUnderLoad(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b")
		ctx := ctxFor(t, time.Minute)
		set := func(k int) {
			spec := maquis.ChannelSpec{Name: "bulk", Lanes: 1 + k%4, MaxQueueLen: 100 + k, Priority: maquis.Priority(k % 3)}
			require.NoError(t, n[0].SetChannel(ctx, spec))
		}
		set(0)
		var last, bad atomic.Int64
		_, err := n[1].system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
			if m, ok := c.Message().(*wrapperspb.Int64Value); ok && !last.CompareAndSwap(m.Value-1, m.Value) {
				bad.Add(1)
			}
		}), "sink")
		require.NoError(t, err)
		pid := n[0].PID("b", "sink")
		sent := int64(0)
		for k := range 30 {
			for range 500 {
				require.NoError(t, n[0].ForwardMessage(pid, wrapperspb.Int64(sent+1), maquis.WithChannel("bulk")))
				sent++
			}
			if k%10 == 9 {
				require.NoError(t, n[0].RemoveChannel(ctx, "bulk"))
				require.ErrorIs(t, n[0].ForwardMessage(pid, wrapperspb.Int64(0), maquis.WithChannel("bulk")), maquis.ErrUnknownChannel)
			}
			set(k)
		}
		require.Eventually(t, func() bool { return last.Load() == sent }, 20*time.Second, time.Millisecond, "%d of %d", last.Load(), sent)
		require.Zero(t, bad.Load())
	})
}

// Configurations that differ are an event, and no reason to refuse anybody.
func TestChannelDrift(t *testing.T) {
	a := startNode(t, "a", maquis.WithChannels(maquis.ChannelSpec{Name: "bulk", Overflow: maquis.Reject}))
	events := a.Events(ctxFor(t, 20*time.Second))
	b := startNode(t, "b", maquis.WithSeeds(a.addr()), maquis.WithChannels(maquis.ChannelSpec{Name: "bulk", Lanes: 4}))
	require.NoError(t, b.WaitForMembers(ctxFor(t, 10*time.Second), 2))
	for e := range events {
		if d, ok := e.(*maquis.ChannelDrift); ok {
			require.Equal(t, "b", d.Node)
			require.Equal(t, maquis.Reject, d.Ours.Overflow)
			require.Equal(t, 4, d.Theirs.Lanes)
			return
		}
	}
	t.Fatal("no event")
}

// What is wrong with a change is said, and nothing changes.
func TestSetChannelRefused(t *testing.T) {
	a := startNode(t, "a", maquis.WithChannels(maquis.ChannelSpec{Name: "bulk"}))
	ctx := context.Background()
	before := a.Channels()
	for want, spec := range map[string]maquis.ChannelSpec{
		"use 1 to 16":               {Name: "x", Lanes: 10_000},
		"needs a name":              {},
		"reserved for the runtime":  {Name: "control"},
		"cannot be negative":        {Name: "x", MaxQueueLen: -1},
		`overlay "far"`:             {Name: "x", Overlay: "far"},
		"both claim messages":       {Name: "data", Types: []string{"t.T", "t.T2"}},
		"unknown priority":          {Name: "x", Priority: 9},
		"message types":             {Name: "x", Types: []string{""}},
		"at most 8192 are allowed":  {Name: "x", Types: make20k()},
		"lanes is -1; use 1 to 16":  {Name: "x", Lanes: -1},
		"the name has 65 bytes; at": {Name: string(make([]byte, 65))},
	} {
		if want == "both claim messages" {
			require.NoError(t, a.SetChannel(ctx, maquis.ChannelSpec{Name: "bulk", Types: []string{"t.T"}}))
			before = a.Channels()
		}
		require.ErrorContains(t, a.SetChannel(ctx, spec), want)
		if want != "both claim messages" {
			require.Equal(t, len(before), len(a.Channels()))
		}
	}
	require.ErrorContains(t, a.RemoveChannel(ctx, "data"), "cannot be removed")
	require.ErrorContains(t, a.RemoveChannel(ctx, "bulc"), `do you mean "bulk"?`)
	require.NoError(t, a.ConfigureRouting(maquis.RoutingRule{Channel: "bulk"}))
	require.ErrorContains(t, a.RemoveChannel(ctx, "bulk"), "routing rule 1")
}

func make20k() (types []string) {
	for i := range 1000 {
		types = append(types, fmt.Sprintf("some.package.Type%d", i))
	}
	return types
}
