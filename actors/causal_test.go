package actors_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// What waits for a message to a node that is declared down is released with an
// event.
func TestCausalReleased(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b, x := c.Start("a", nil), c.Start("b", nil), c.Start("x", nil)
		c.Settle()
		var mu sync.Mutex
		var told []*maquis.CausalReleased
		a.System.EventStream.Subscribe(func(e any) {
			if r, ok := e.(*maquis.CausalReleased); ok {
				mu.Lock()
				told = append(told, r)
				mu.Unlock()
			}
		})
		var got journal
		got.spawn(t, x, "log")
		label := maquis.WithCausalLabel("l")
		require.NoError(t, a.ForwardMessage(a.PID("x", "log"), text("first"), label))
		c.Pass(time.Second)
		require.Equal(t, []string{"first"}, got.all())
		c.Cut(a, b)
		c.Cut(x, b)
		require.NoError(t, a.ForwardMessage(a.PID("b", "log"), text("lost"), label))
		require.NoError(t, a.ForwardMessage(a.PID("x", "log"), text("second"), label))
		c.Pass(time.Second)
		require.Equal(t, []string{"first"}, got.all(), "it waits for what went to b")
		c.Until(time.Minute, func() error {
			if n := len(got.all()); n != 2 {
				return fmt.Errorf("%d of 2 came", n)
			}
			return nil
		})
		c.Pass(time.Second)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, told, 1)
		require.Equal(t, "b", told[0].Node)
		require.Equal(t, "data", told[0].Channel)
		require.Equal(t, []int{1, 0}, []int{told[0].GivenUp, told[0].Waited})
	})
}
