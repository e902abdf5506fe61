package channelmgr_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

// wide is a pair of nodes with channels of several lanes.
func wide(t *testing.T, lanes int, more ...func(*channelmgr.Config)) (a, b *node, faults *transport.Faults, s *channelmgr.Session) {
	t.Helper()
	faults = transport.NewFaults(1)
	tr := transport.NewMemory()
	specs := func(c *channelmgr.Config) {
		c.Channels = []channelmgr.ChannelSpec{{Name: "f", Lanes: lanes}, {Name: "k", Lanes: lanes, Delivery: channelmgr.AtLeastOnce}}
		c.Timing.Heartbeat, c.Timing.BackoffMin = 100*time.Millisecond, 5*time.Millisecond
	}
	b = start(t, "b", faults.Node("b", tr), handshake.ModeInsecure, append(more, specs)...)
	a = start(t, "a", faults.Node("a", tr), handshake.ModeInsecure, append(more, specs)...)
	return a, b, faults, a.connect(b)
}

func lanesOf(n *node, channel string) int {
	for _, st := range n.reg.ChannelStats() {
		if st.Channel == channel {
			return st.Lanes
		}
	}
	return 0
}

// Lanes are a ceiling: little traffic uses one link, however many targets it is
// for; more open when large messages hold others up.
func TestLanesOpenOnWait(t *testing.T) {
	for _, channel := range []string{"f", "k"} {
		t.Run(channel, func(t *testing.T) {
			a, b, faults, s := wide(t, 4)
			send := func(target string, size int) {
				require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: channel, Target: target, Msg: wrapperspb.String(strings.Repeat("x", size))}))
			}
			for i := range 200 {
				send(fmt.Sprint("t", i), 100)
				require.Eventually(t, func() bool { return b.count() == i+1 }, 10*time.Second, 10*time.Microsecond)
			}
			require.Equal(t, 1, lanesOf(a, channel))
			faults.Slow("a", "b", transport.Link{Latency: 5 * time.Millisecond, Rate: 200 << 20})
			for i := range 64 {
				send(fmt.Sprint("t", i), 1<<20)
			}
			require.Eventually(t, func() bool { return b.count() == 264 }, 30*time.Second, time.Millisecond)
			require.Greater(t, lanesOf(a, channel), 1)
			require.LessOrEqual(t, lanesOf(a, channel), 4)
		})
	}
}

// Lanes that idle are closed; what comes then goes on the first one again.
func TestLanesCloseIdle(t *testing.T) {
	a, b, faults, s := wide(t, 4, func(c *channelmgr.Config) { c.Timing.IdleAfter = time.Second })
	faults.Slow("a", "b", transport.Link{Latency: 2 * time.Millisecond, Rate: 200 << 20})
	for i := range 64 {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: "k", Target: fmt.Sprint("t", i), Msg: wrapperspb.String(strings.Repeat("x", 1<<20))}))
	}
	require.Eventually(t, func() bool { return b.count() == 64 }, 30*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return lanesOf(a, "k") == 0 }, 30*time.Second, 10*time.Millisecond)
	for i := range 64 {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: "k", Target: fmt.Sprint("t", i), Msg: wrapperspb.String("x")}))
		require.Eventually(t, func() bool { return b.count() == 65+i }, 10*time.Second, 100*time.Microsecond)
	}
	require.Equal(t, 1, lanesOf(a, "k"))
}

// Flows change lanes under load, over links that are reset and a ceiling that
// moves: what comes is in order, and with delivery at least once all of it.
func TestLanesKeepOrder(t *testing.T) {
	for _, channel := range []string{"f", "k"} {
		t.Run(channel, func(t *testing.T) {
			a, b, faults, s := wide(t, 4)
			rng := rand.New(rand.NewPCG(1, 1))
			const rounds, targets = 6000, 40
			for i := range rounds {
				size := 10
				if rng.IntN(20) == 0 {
					size = rng.IntN(200_000)
				}
				m := wrapperspb.String(fmt.Sprint(i, " ", strings.Repeat("x", size)))
				require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: channel, Target: fmt.Sprint("t", rng.IntN(targets)), Msg: m}))
				switch i % 1500 {
				case 700:
					faults.Reset("a", "b")
				case 200, 900:
					_, err := a.reg.SetChannel(channelmgr.ChannelSpec{Name: channel, Lanes: 1 + rng.IntN(8), Delivery: map[string]channelmgr.Delivery{"k": channelmgr.AtLeastOnce}[channel]})
					require.NoError(t, err)
				}
				if i%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			if channel == "k" {
				require.Eventually(t, func() bool { return s.Kept() == 0 }, 30*time.Second, 10*time.Millisecond)
			}
			last := -1
			require.Eventually(t, func() bool { was := last; last = b.count(); return last == was && last > rounds/2 }, 30*time.Second, 700*time.Millisecond)
			seen, total := make(map[string]int), 0
			for _, g := range b.all() {
				target, v, _ := strings.Cut(g, ":")
				v, _, _ = strings.Cut(v, " ")
				n, _ := strconv.Atoi(v)
				if before, ok := seen[target]; ok {
					require.Greater(t, n, before, target)
				}
				seen[target] = n
				total++
			}
			if channel == "k" {
				require.Equal(t, rounds, total)
			}
		})
	}
}

// What several lanes cost a channel that does not need them.
func BenchmarkQuietLanes(b *testing.B) {
	for _, lanes := range []int{1, 8} {
		b.Run(fmt.Sprint(lanes), func(b *testing.B) {
			tr := transport.NewMemory()
			specs := func(c *channelmgr.Config) { c.Channels = []channelmgr.ChannelSpec{{Name: "f", Lanes: lanes}} }
			y := start(b, "b", tr, handshake.ModeInsecure, specs)
			x := start(b, "a", tr, handshake.ModeInsecure, specs)
			s := x.connect(y)
			o := channelmgr.Outgoing{Channel: "f", Target: "t", Msg: wrapperspb.Bytes(make([]byte, 64))}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Send(&o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
