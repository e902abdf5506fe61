package actors_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// A Deliver has three outcomes: it is in the mailbox; it is not, and why; nobody
// knows.
func TestDeliver(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b := c.Start("a", nil), c.Start("b", nil)
		c.Settle()
		var there, here journal
		there.spawn(t, b, "log")
		here.spawn(t, a, "log")
		ctx := context.Background()
		for i := range 20 {
			require.NoError(t, a.Deliver(ctx, a.PID("b", "log"), wrapperspb.String("x")))
			c.Pass(time.Microsecond) // for the actor
			require.Len(t, there.all(), i+1)
		}
		require.NoError(t, a.Deliver(ctx, a.PID("a", "log"), wrapperspb.String("x")))
		c.Pass(time.Microsecond)
		require.Len(t, here.all(), 1)

		// Known not to arrive.
		require.ErrorIs(t, a.Deliver(ctx, a.PID("b", "nobody"), wrapperspb.String("x")), maquis.ErrDeadLetter)
		require.ErrorIs(t, a.Deliver(ctx, a.PID("a", "nobody"), wrapperspb.String("x")), maquis.ErrDeadLetter)
		require.ErrorIs(t, a.Deliver(ctx, a.PID("nowhere", "log"), wrapperspb.String("x")), maquis.ErrUnknownNode)
		require.ErrorIs(t, a.Deliver(ctx, a.PID("b", "log"), struct{}{}), maquis.ErrNoCodec)
		require.ErrorIs(t, a.Deliver(ctx, a.PID("b", "log"), wrapperspb.String("x"), maquis.WithChannel("bulk")), maquis.ErrUnknownChannel)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, a.Deliver(ended, a.PID("b", "log"), wrapperspb.String("x")), context.Canceled)
		require.Len(t, there.all(), 20)

		// Nobody knows, and in truth it arrives when the cut heals.
		c.Cut(a, b)
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		err := a.Deliver(short, a.PID("b", "log"), wrapperspb.String("late"))
		require.ErrorIs(t, err, maquis.ErrUnconfirmed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		c.Heal()
		c.Until(10*time.Second, func() error {
			if n := len(there.all()); n != 21 {
				return context.DeadlineExceeded
			}
			return nil
		})

		// The node goes: what was written is unconfirmed.
		b.Crash()
		start := time.Now()
		long, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		err = a.Deliver(long, a.PID("b", "log"), wrapperspb.String("x"))
		require.Error(t, err)
		require.Less(t, time.Since(start), time.Minute, "the end of the node ends it")
		var ne *maquis.NodeError
		require.ErrorAs(t, err, &ne)
		require.Equal(t, "b", ne.Node)
	})
}
