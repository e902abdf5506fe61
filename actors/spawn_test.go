package actors_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

// A node to which there is no link is spawned on as well: it is reached over a relay,
// and if nobody can reach it the error says so.
func TestSpawnWithoutALink(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		live, _ := chained(c, time.Millisecond)
		require.NoError(t, live[2].Register("echo", echo()))
		c.Until(time.Minute, func() error { return live[0].WaitForMembers(ctxFor(t, time.Second), 1, maquis.HasKind("echo")) })
		pid, err := live[0].Spawn(t.Context(), "n2", "echo")
		require.NoError(t, err)
		res, err := maquis.Call[*wrapperspb.StringValue](t.Context(), live[0].Distribution, pid, wrapperspb.String("x"))
		require.NoError(t, err)
		require.Equal(t, "echo x", res.Value)
		c.Pass(time.Minute) // until the session over the relay is closed
		c.Partition(live[:2], live[2:])
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err = live[0].Spawn(ctx, "n2", "echo")
		require.ErrorContains(t, err, "unreachable")
		require.NotErrorIs(t, err, maquis.ErrUnconfirmed)
		ends := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := live[0].Spawn(ctx, "n2", "echo")
			ends <- err
		}()
		c.Pass(time.Second / 2)
		c.Heal()
		require.NoError(t, <-ends)
	})
}

// A request to spawn whose answer goes down with the link is answered on the next,
// and has spawned one actor.
func TestSpawnAcrossAReset(t *testing.T) {
	overFaults(t, func(t *testing.T, faults *transport.Faults, node func(string) []maquis.Option) {
		a, b := faultyPair(t, faults, node)
		var spawned atomic.Int32
		resets := 3
		props := actor.PropsFromProducer(func() actor.Actor {
			spawned.Add(1)
			return actor.ReceiveFunc(func(actor.Context) {})
		}, actor.WithOnInit(func(actor.Context) { faults.Reset("a", "b") }))
		require.NoError(t, b.Register("late", props))
		require.NoError(t, a.WaitForMembers(ctxFor(t, 20*time.Second), 1, maquis.HasKind("late")))
		for i := range resets {
			_, err := a.Spawn(ctxFor(t, 20*time.Second), "b", "late")
			require.NoError(t, err)
			require.EqualValues(t, i+1, spawned.Load())
		}
	})
}
