package actors_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

// overFaults runs a test on a network that can be cut, in memory and on TCP
// with TLS. Nodes' transports come from node.
func overFaults(t *testing.T, f func(t *testing.T, faults *transport.Faults, node func(name string) []maquis.Option)) {
	run := func(t *testing.T, over transport.Transport, more ...maquis.Option) {
		faults := transport.NewFaults(1)
		f(t, faults, func(name string) []maquis.Option {
			return append([]maquis.Option{maquis.WithTransport(faults.Node(name, over))}, more...)
		})
	}
	t.Run("memory", func(t *testing.T) { run(t, transport.NewMemory(), maquis.WithInsecure()) })
	t.Run("tls", func(t *testing.T) { run(t, transport.TCP{}) })
}

// faultyPair starts a and b and heals all faults before they stop.
func faultyPair(t *testing.T, faults *transport.Faults, opts func(name string) []maquis.Option) (a, b *node) {
	t.Helper()
	a = startNode(t, "a", opts("a")...)
	b = startNode(t, "b", append(opts("b"), maquis.WithSeeds(a.addr()))...)
	t.Cleanup(faults.Heal)
	require.NoError(t, a.WaitForMembers(ctxFor(t, 20*time.Second), 2))
	require.NoError(t, b.WaitForMembers(ctxFor(t, 20*time.Second), 2))
	return a, b
}

// Links that break again and again neither reorder nor repeat messages, and
// what does not arrive is told: for every gap there is a PossiblyLost or an
// Undelivered.
func TestOrderAcrossResets(t *testing.T) {
	overFaults(t, func(t *testing.T, faults *transport.Faults, node func(string) []maquis.Option) {
		a, b := faultyPair(t, faults, node)
		const targets, resets = 4, 20
		var mu sync.Mutex
		got := make([][]int64, targets)
		for i := range targets {
			_, err := b.system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				if m, ok := c.Message().(*wrapperspb.Int64Value); ok {
					mu.Lock()
					got[i] = append(got[i], m.Value)
					mu.Unlock()
				}
			}), ids[i])
			require.NoError(t, err)
		}
		arrived := func() (n int) {
			mu.Lock()
			defer mu.Unlock()
			for i := range got {
				n += len(got[i])
			}
			return n
		}
		var told int64
		a.system.EventStream.Subscribe(func(e any) {
			if l, ok := e.(*maquis.PossiblyLost); ok {
				mu.Lock()
				told += int64(l.To - l.From)
				mu.Unlock()
			}
		})
		var wg sync.WaitGroup
		var stop atomic.Bool
		sent := make([]int64, targets)
		for i := range targets {
			wg.Add(1)
			go func() {
				defer wg.Done()
				pid := a.PID("b", ids[i])
				for !stop.Load() {
					sent[i]++
					a.system.Root.Send(pid, wrapperspb.Int64(sent[i]))
					if sent[i]%100 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			}()
		}
		for range resets {
			before := arrived()
			require.Eventually(t, func() bool { return arrived() > before+200 }, 20*time.Second, time.Millisecond)
			faults.Reset("a", "b")
		}
		stop.Store(true)
		wg.Wait()
		// A last message to each target comes through, after all that went before.
		for i := range targets {
			last := func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(got[i]) > 0 && got[i][len(got[i])-1] > sent[i]
			}
			for n := sent[i] + 1; !last(); n++ {
				a.system.Root.Send(a.PID("b", ids[i]), wrapperspb.Int64(n))
				time.Sleep(10 * time.Millisecond)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		var all, missing int64
		for i := range targets {
			seen := int64(0)
			for _, n := range got[i] {
				if n <= seen {
					t.Fatalf("target %d got %d after %d", i, n, seen)
				}
				if seen = n; n <= sent[i] {
					missing--
				}
			}
			missing += sent[i]
			all += sent[i]
		}
		t.Logf("%d of %d messages did not arrive, %d were told to be lost or perhaps lost", missing, all, told)
		if lost := told + int64(len(a.lostNow())); missing > lost {
			t.Errorf("%d messages are missing, only %d are accounted for", missing, lost)
		}
		require.Positive(t, told, "the resets lost nothing: they were none")
	})
}

// A cut that ends before anyone is declared down loses nothing and tells
// nothing: no message is missing, no watch fires.
func TestShortCutLosesNothing(t *testing.T) {
	overFaults(t, func(t *testing.T, faults *transport.Faults, node func(string) []maquis.Option) {
		a, b := faultyPair(t, faults, node)
		var l, w logActor
		_, err := b.system.Root.SpawnNamed(l.props(nil), "log")
		require.NoError(t, err)
		pid := a.PID("b", "log")
		a.system.Root.Spawn(w.props(func(c actor.Context) { c.Watch(pid) }))
		for round := range 3 {
			faults.Cut("a", "b")
			for range 100 {
				a.system.Root.Send(pid, wrapperspb.String("over the cut"))
			}
			time.Sleep(50 * time.Millisecond)
			require.Len(t, l.all(), 100*round)
			faults.Heal()
			require.Eventually(t, func() bool { return len(l.all()) == 100*(round+1) }, 10*time.Second, time.Millisecond)
		}
		require.Empty(t, w.terminated())
		require.Empty(t, a.lostNow())
		m, ok := a.Member("b")
		require.True(t, ok)
		require.Equal(t, maquis.Alive, m.Status)
	})
}

// A half-open link is found: the other node goes down once, its actors are
// terminated once, requests fail; when it heals the same life is back under a
// higher generation and its PIDs work.
func TestP30HalfOpen(t *testing.T) {
	overFaults(t, func(t *testing.T, faults *transport.Faults, node func(string) []maquis.Option) {
		a, b := faultyPair(t, faults, node)
		_, err := b.system.Root.SpawnNamed(echo(), "echo")
		require.NoError(t, err)
		pid := a.PID("b", "echo")
		var w logActor
		a.system.Root.Spawn(w.props(func(c actor.Context) { c.Watch(pid) }))
		_, err = maquis.Call[*wrapperspb.StringValue](ctxFor(t, 5*time.Second), a.Distribution, pid, wrapperspb.String("x"))
		require.NoError(t, err)
		before, _ := a.Member("b")
		isolated := make(chan *maquis.Isolated, 10)
		a.system.EventStream.Subscribe(func(e any) {
			if i, ok := e.(*maquis.Isolated); ok {
				isolated <- i
			}
		})
		cut := time.Now()
		faults.CutOneWay("b", "a")
		answer := a.system.Root.RequestFuture(pid, wrapperspb.String("x"), time.Minute)
		require.Eventually(t, func() bool { return len(w.terminated()) == 1 }, 30*time.Second, time.Millisecond)
		require.Equal(t, actor.TerminatedReason_AddressTerminated, w.terminated()[0].Why)
		require.ErrorIs(t, answer.Wait(), actor.ErrDeadLetter, "a request that is open fails at once")
		require.False(t, (<-isolated).Since.Before(cut))
		faults.Heal()
		require.Eventually(t, func() bool {
			m, ok := a.Member("b")
			return ok && m.Status == maquis.Alive && m.Generation > before.Generation
		}, 30*time.Second, time.Millisecond)
		res, err := maquis.Call[*wrapperspb.StringValue](ctxFor(t, 20*time.Second), a.Distribution, pid, wrapperspb.String("again"))
		require.NoError(t, err)
		require.Equal(t, "echo again", res.Value)
		require.Len(t, w.terminated(), 1)
	})
}

// While one link of three nodes is cut both ends still hear each other through
// the third: nobody is declared down.
func TestPartialPartition(t *testing.T) {
	overFaults(t, func(t *testing.T, faults *transport.Faults, node func(string) []maquis.Option) {
		a, b := faultyPair(t, faults, node)
		c := startNode(t, "c", append(node("c"), maquis.WithSeeds(a.addr()))...)
		for _, n := range []*maquis.Distribution{a.Distribution, b.Distribution, c.Distribution} {
			require.NoError(t, n.WaitForMembers(ctxFor(t, 20*time.Second), 3))
		}
		faults.Cut("a", "b")
		time.Sleep(2 * fast.SilentAfter)
		for _, n := range []*maquis.Distribution{a.Distribution, b.Distribution, c.Distribution} {
			require.Equal(t, []string{"a", "b", "c"}, n.NodeList())
		}
	})
}
