package actors_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

func statsOf(t *testing.T, d *maquis.Distribution, channel string) maquis.ChannelStats {
	t.Helper()
	for _, st := range d.ChannelStats() {
		if st.Channel == channel {
			return st
		}
	}
	t.Fatalf("no counters of channel %q", channel)
	return maquis.ChannelStats{}
}

// P-15: what travels on a channel with compression arrives as it was sent, in
// order, and takes fewer bytes; what does not become smaller travels as it is.
func TestCompression(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		opts = append(opts[:len(opts):len(opts)], maquis.WithChannels(
			maquis.ChannelSpec{Name: "s2", Compression: maquis.S2}, maquis.ChannelSpec{Name: "zstd", Compression: maquis.Zstd},
			maquis.ChannelSpec{Name: "acked", Compression: maquis.S2, Delivery: maquis.AtLeastOnce}))
		n := cluster(t, opts, "a", "b")
		noise := make([]byte, 100_000)
		_, _ = rand.Read(noise)
		for _, channel := range []string{"s2", "zstd", "acked"} {
			var next atomic.Int64
			name := "sink of " + channel
			want := func(i int) string {
				switch i % 40 {
				case 7:
					return fmt.Sprint(i, strings.Repeat(" a long story", 30_000)) // in pieces
				case 8:
					return fmt.Sprint(i, strings.ToValidUTF8(string(noise), "?"))
				}
				return fmt.Sprint(i, strings.Repeat(" a short story", 70))
			}
			_, err := n[1].system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				if m, ok := c.Message().(*wrapperspb.StringValue); ok && m.Value == want(int(next.Load())) {
					next.Add(1)
				}
			}), name)
			require.NoError(t, err)
			pid := n[0].PID("b", name, maquis.WithChannel(channel))
			const count = 400
			for i := range count {
				n[0].system.Root.Send(pid, wrapperspb.String(want(i)))
			}
			require.Eventually(t, func() bool { return next.Load() == count }, 30*time.Second, time.Millisecond, "%d came", next.Load())
			st := statsOf(t, n[0].Distribution, channel)
			require.Less(t, st.Packed, st.Unpacked/3)
			require.EqualValues(t, count, st.Sent)
			require.EqualValues(t, count, statsOf(t, n[1].Distribution, channel).Received)
		}
		require.Zero(t, statsOf(t, n[0].Distribution, "data").Packed)
	})
}

// The counters of channels say what waits, what went and what was dropped, and
// forget nothing when a node is gone.
func TestChannelStats(t *testing.T) {
	opts := []maquis.Option{maquis.WithChannels(maquis.ChannelSpec{Name: "bulk", MaxQueueLen: 10, Overflow: maquis.Reject})}
	a := startNode(t, "a", opts...)
	b := startNode(t, "b", append(opts, maquis.WithSeeds(a.addr()))...)
	require.NoError(t, b.WaitForMembers(ctxFor(t, 10*time.Second), 2))
	require.NoError(t, a.WaitForMembers(ctxFor(t, 10*time.Second), 2))
	_, err := b.system.Root.SpawnNamed(echo(), "x")
	require.NoError(t, err)
	pid := a.PID("b", "x")
	refused := uint64(0)
	for range 2000 { // without a link yet, ten of them fit
		if a.ForwardMessage(pid, wrapperspb.String("x"), maquis.WithChannel("bulk")) != nil {
			refused++
		}
	}
	require.NotZero(t, refused)
	require.Eventually(t, func() bool { st := statsOf(t, a.Distribution, "bulk"); return st.Queued == 0 && st.Lanes == 1 }, 10*time.Second, time.Millisecond)
	st := statsOf(t, a.Distribution, "bulk")
	require.Equal(t, refused, st.Dropped["overflow"])
	require.Equal(t, 2000-refused, st.Sent)
	require.Equal(t, st.Sent*3, st.SentBytes)
	require.Zero(t, st.QueuedBytes)
	require.NotZero(t, st.MaxWait, "the first message waited for a link")
	require.Eventually(t, func() bool { return statsOf(t, b.Distribution, "bulk").Received == st.Sent }, 10*time.Second, time.Millisecond)
	require.Error(t, a.ForwardMessage(a.PID("b", "nobody"), wrapperspb.String("x"), maquis.WithChannel("no such")))
	require.NoError(t, a.ForwardMessage(a.PID("b", "nobody"), wrapperspb.String("x"), maquis.WithChannel("bulk")))
	require.Eventually(t, func() bool { return statsOf(t, a.Distribution, "bulk").Dropped["no_such_actor"] == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, b.Stop(context.Background()))
	require.Eventually(t, func() bool { return len(a.NodeList()) == 1 }, 20*time.Second, time.Millisecond)
	require.Equal(t, st.Sent+1, statsOf(t, a.Distribution, "bulk").Sent)
}

// A channel to a node is up when its first message has a link, down when that
// breaks or idles, each once.
func TestChannelEvents(t *testing.T) {
	timing := fast
	timing.IdleAfter = 500 * time.Millisecond
	opts := []maquis.Option{maquis.WithTiming(timing), maquis.WithChannels(maquis.ChannelSpec{Name: "bulk", Lanes: 2})}
	a := startNode(t, "a", opts...)
	b := startNode(t, "b", append(opts, maquis.WithSeeds(a.addr()))...)
	require.NoError(t, a.WaitForMembers(ctxFor(t, 10*time.Second), 2))
	events := a.Events(ctxFor(t, 30*time.Second))
	next := func() maquis.Event {
		for e := range events {
			switch e.(type) {
			case *maquis.ChannelUp, *maquis.ChannelDown:
				return e
			}
		}
		t.Fatal("no event")
		return nil
	}
	send := func(channel string) {
		a.system.Root.Send(a.PID("b", "x", maquis.WithChannel(channel)), wrapperspb.String("x"))
	}
	send("bulk")
	up := next().(*maquis.ChannelUp)
	require.Equal(t, [2]string{"b", "bulk"}, [2]string{up.Node, up.Channel})
	down := next().(*maquis.ChannelDown)
	require.Equal(t, "bulk", down.Channel)
	require.Contains(t, []maquis.Reason{"closed", "peer_closed"}, down.Reason)
	send("data")
	require.Equal(t, "data", next().(*maquis.ChannelUp).Channel)
	b.Kill()
	require.Equal(t, "data", next().(*maquis.ChannelDown).Channel)
}
