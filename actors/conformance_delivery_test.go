package actors_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// Rows of the conformance table on delivery modes, over every overlay and
// routing policy.

// journal is an actor that keeps the texts it gets.
type journal struct {
	mu   sync.Mutex
	list []string
}

func (j *journal) props() *actor.Props {
	return actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok {
			j.mu.Lock()
			j.list = append(j.list, m.Value)
			j.mu.Unlock()
		}
	})
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.list...)
}

func (j *journal) spawn(t *testing.T, n *actorstest.Node, name string) {
	_, err := n.System.Root.SpawnNamed(j.props(), name)
	require.NoError(t, err)
}

// breakLinks breaks the connections of a node, one after the other, until the
// function that it returns is called, which waits for the end of that.
func (w *world) breakLinks(n *actorstest.Node, every time.Duration) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(every):
			}
			if m := w.n[i%len(w.n)]; m != n {
				w.Reset(n, m)
			}
		}
	}()
	return func() { close(stop); <-done }
}

// P-11: what is acknowledged is sent again after a loss, and an actor gets it
// once, in order.
func TestP11AckedAcrossLosses(t *testing.T) {
	conformance(t, allPolicies, false, func(t *testing.T, w *world) {
		var acked, twin journal
		acked.spawn(t, w.n[5], "acked")
		twin.spawn(t, w.n[5], "twin")
		onChannel := w.n[2].PID("n5", "acked", maquis.WithChannel("orders"))
		onTwin := w.n[2].PID("n5", "twin", maquis.WithAck())
		end := w.breakLinks(w.n[2], 100*time.Millisecond)
		const count = 400
		var want []string
		for i := range count {
			want = append(want, strconv.Itoa(i))
			w.n[2].System.Root.Send(onChannel, text(want[i]))
			w.n[2].System.Root.Send(onTwin, text(want[i]))
			time.Sleep(5 * time.Millisecond)
		}
		end()
		w.Until(time.Minute, func() error {
			if a, b := len(acked.all()), len(twin.all()); a < count || b < count {
				return fmt.Errorf("%d and %d of %d came", a, b, count)
			}
			return nil
		})
		w.Pass(5 * time.Second)
		require.Equal(t, want, acked.all())
		require.Equal(t, want, twin.all())
		for i := range 10 {
			require.NoError(t, w.n[2].Deliver(context.Background(), onTwin, text(strconv.Itoa(count+i))))
			w.Pass(time.Microsecond) // for the actor
			require.Len(t, twin.all(), count+i+1, "it is in the mailbox when Deliver returns")
		}
	}, maquis.WithChannels(maquis.ChannelSpec{Name: "orders", Delivery: maquis.AtLeastOnce}))
}

// P-14: of what waits only the newest of each key is sent, and it arrives, also
// across links that break.
func TestP14NewestUnderBacklog(t *testing.T) {
	conformance(t, allPolicies, false, func(t *testing.T, w *world) {
		var prices journal
		prices.spawn(t, w.n[5], "prices")
		end := w.breakLinks(w.n[2], 100*time.Millisecond)
		const count, keys = 2000, 4
		for i := range count {
			key := fmt.Sprint("k", i%keys)
			pid := w.n[2].PID("n5", "prices", maquis.WithChannel("prices"), maquis.WithPartitionKey(key))
			w.n[2].System.Root.Send(pid, text(fmt.Sprintf("%s %d", key, i)))
			if i%10 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		end()
		newest := func() map[string]int {
			last := map[string]int{}
			for _, s := range prices.all() {
				var key string
				var n int
				_, err := fmt.Sscan(s, &key, &n)
				require.NoError(t, err)
				before, had := last[key]
				require.True(t, !had || n > before, "%s after %d", s, before)
				last[key] = n
			}
			return last
		}
		w.Until(time.Minute, func() error {
			for i := range keys {
				if got := newest()[fmt.Sprint("k", i)]; got != count-keys+i {
					return fmt.Errorf("the newest of key %d is %d", i, got)
				}
			}
			return nil
		})
		w.Pass(5 * time.Second)
		newest()
		require.Less(t, len(prices.all()), count, "nothing was superseded")
		require.Positive(t, w.n[2].Stats()["superseded"])
	}, maquis.WithChannels(maquis.ChannelSpec{Name: "prices", Ordering: maquis.Monotonic}))
}

// P-12: A sends to B, then to C, and C to B because of it: B gets A's message
// first, however slow the way from A to B is.
func TestP12CausalTriangle(t *testing.T) {
	conformance(t, allPolicies, false, func(t *testing.T, w *world) {
		const a, b, c = 2, 5, 4
		var seen journal
		seen.spawn(t, w.n[b], "seen")
		label := maquis.WithCausalLabel("order")
		_, err := w.n[c].System.Root.SpawnNamed(actor.PropsFromFunc(func(ctx actor.Context) {
			if m, ok := ctx.Message().(*wrapperspb.StringValue); ok {
				ctx.Send(w.n[c].PID("n5", "seen", label), text("answer "+m.Value))
			}
		}), "relay")
		require.NoError(t, err)
		w.Slow(w.n[a], w.n[b], 200*time.Millisecond)
		w.Slow(w.n[a], w.n[3], 150*time.Millisecond) // what may lie between them
		const count = 20
		for i := range count {
			w.n[a].System.Root.Send(w.n[a].PID("n5", "seen", label), text(fmt.Sprint("question ", i)))
			w.n[a].System.Root.Send(w.n[a].PID("n4", "relay", label), text(strconv.Itoa(i)))
			w.Pass(20 * time.Millisecond)
		}
		w.Until(time.Minute, func() error {
			if n := len(seen.all()); n < 2*count {
				return fmt.Errorf("%d of %d came", n, 2*count)
			}
			return nil
		})
		asked := map[string]bool{}
		for _, s := range seen.all() {
			var what string
			var n int
			_, err := fmt.Sscan(s, &what, &n)
			require.NoError(t, err)
			if what == "question" {
				asked[strconv.Itoa(n)] = true
			} else {
				require.True(t, asked[strconv.Itoa(n)], "%s came before its question: %v", s, seen.all())
			}
		}
		require.Len(t, seen.all(), 2*count)
	})
}
