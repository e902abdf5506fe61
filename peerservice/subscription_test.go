package peerservice

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The first event is a Snapshot; one who falls behind gets a new one in place
// of what was missed, and every event is either in it or after it.
func TestSlowSubscriber(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		a := c.start("a", nil)
		sub := a.svc.Subscribe(1)
		defer sub.Close()
		next := func() string {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			e, ok := sub.Next(ctx)
			if !ok {
				return "nothing"
			}
			return describe(e)
		}
		a.svc.Note("a note") // is in no Snapshot
		require.Equal(t, "snapshot 1", next())
		require.Equal(t, "peerservice.Noted", next())
		require.Equal(t, "nothing", next())
		b := c.start("b", []string{addr("a")})
		b.sees("a", "b")
		require.Equal(t, "up b", next())
		c.start("c", []string{addr("a")}).sees("a", "b", "c")
		b.crash()
		a.sees("a", "c")
		require.Equal(t, "snapshot 2", next())
		require.Equal(t, "nothing", next())
		require.NoError(t, a.svc.SetTags(nil))
		require.Equal(t, "updated a", next())
		require.NotZero(t, a.svc.Stats()["snapshots"])
	})
}

func TestSubscriptionsEndWithTheService(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		a := c.start("a", nil)
		sub, closed := a.svc.Subscribe(10), a.svc.Subscribe(10)
		closed.Close()
		_, ok := closed.Next(context.Background())
		require.False(t, ok)
		a.crash()
		_, ok = sub.Next(context.Background())
		require.False(t, ok)
		late := a.svc.Subscribe(1)
		_, ok = late.Next(context.Background())
		require.False(t, ok, "a subscription made after the end has ended")
		require.ErrorIs(t, a.svc.Join(context.Background(), []string{addr("b")}), ErrStopped)
		require.ErrorIs(t, a.svc.Leave(context.Background()), ErrStopped)
	})
}
