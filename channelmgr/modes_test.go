package channelmgr_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

// apart starts two nodes with channels, and a session of a with b that
// cannot reach each other until join is called.
func apart(t *testing.T, specs ...channelmgr.ChannelSpec) (a, b *node, s *channelmgr.Session, join func()) {
	t.Helper()
	with := func(c *channelmgr.Config) { c.Channels = specs }
	faults := transport.NewFaults(1)
	faults.Cut("a", "b")
	m := transport.NewMemory()
	a, b = start(t, "a", faults.Node("a", m), handshake.ModeInsecure, with), start(t, "b", faults.Node("b", m), handshake.ModeInsecure, with)
	return a, b, a.reg.Ensure(b.reg.Self(), 1), faults.Heal
}

func text(target string, n int) *channelmgr.Outgoing {
	return &channelmgr.Outgoing{Channel: "c", Target: target, Msg: wrapperspb.String(strconv.Itoa(n))}
}

func (n *node) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got)
}

// settled waits until a node has got so many messages, and a while longer for
// those that it should not get.
func (n *node) settled(count int) []string {
	n.t.Helper()
	require.Eventually(n.t, func() bool { return n.count() >= count }, 20*time.Second, time.Millisecond, "%d of %d came", n.count(), count)
	time.Sleep(20 * time.Millisecond)
	got := n.all()
	require.Len(n.t, got, count)
	return got
}

// What waits on a Monotonic channel is superseded by the newest of its key,
// which is the target unless a key is given; the newest arrives, whatever its
// size.
func TestMonotonicSupersedes(t *testing.T) {
	a, b, s, join := apart(t, channelmgr.ChannelSpec{Name: "c", Ordering: channelmgr.Monotonic, MaxQueueLen: 4, Overflow: channelmgr.Reject})
	for i := range 1000 {
		require.NoError(t, s.Send(text("x", i)))
		require.NoError(t, s.Send(text("y", i)))
		o := text("z", i)
		o.Key = "k" + strconv.Itoa(i%2)
		require.NoError(t, s.Send(o))
	}
	err := s.Send(text("fifth", 0))
	require.ErrorContains(t, err, "overflow", "the bound is for keys")
	require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: "c", Target: "x", NoBlock: true, Msg: wrapperspb.String("answer")}), "not superseded")
	require.NoError(t, s.Send(text("x", 1000)))
	join()
	got := b.settled(5)
	slices.Sort(got)
	require.Equal(t, []string{"x:1000", "x:answer", "y:999", "z:998", "z:999"}, got)
	require.EqualValues(t, 2999+1-3, a.reg.Stats()["superseded"])

	require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: "c", Target: "x", Msg: wrapperspb.Bytes(make([]byte, 300<<10))}))
	require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: "c", Target: "y", Msg: wrapperspb.Bytes(make([]byte, 30<<10))}))
	require.Eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.sizes) == 2 }, 10*time.Second, time.Millisecond)
}

// The newest of every key arrives across links that break, older ones never
// after it, none twice; then nothing is kept any more.
func TestMonotonicAcrossResets(t *testing.T) {
	faults := transport.NewFaults(1)
	m := transport.NewMemory()
	with := func(c *channelmgr.Config) {
		c.Channels = []channelmgr.ChannelSpec{{Name: "c", Ordering: channelmgr.Monotonic}}
		c.Timing.BackoffMin = time.Millisecond
	}
	a, b := start(t, "a", faults.Node("a", m), handshake.ModeInsecure, with), start(t, "b", faults.Node("b", m), handshake.ModeInsecure, with)
	s := a.connect(b)
	const keys, rounds = 50, 4000
	for i := range rounds {
		require.NoError(t, s.Send(text(fmt.Sprint("k", i%keys), i)))
		if i%400 == 399 {
			faults.Reset("a", "b")
		}
		if i%7 == 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
	newest := func() map[string]int {
		last := make(map[string]int)
		for _, g := range b.all() {
			key, v, _ := strings.Cut(g, ":")
			n, _ := strconv.Atoi(v)
			if before, ok := last[key]; ok {
				require.Greater(t, n, before, "%s in %v", key, b.all())
			}
			last[key] = n
		}
		return last
	}
	require.Eventually(t, func() bool {
		last := newest()
		for i := range keys {
			if last[fmt.Sprint("k", i)] != rounds-keys+i {
				return false
			}
		}
		return true
	}, 20*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return s.Kept() == 0 }, 10*time.Second, 10*time.Millisecond)
	newest()
}

// DropOldest keeps what is newest, DropNewest what was first; what the runtime
// sends stays, and every drop is counted and told of.
func TestDrops(t *testing.T) {
	for name, want := range map[string][]string{"oldest": {"x:0", "x:12", "x:13", "x:14", "x:15"}, "newest": {"x:0", "x:1", "x:2", "x:3", "x:15"}} {
		t.Run(name, func(t *testing.T) {
			spec := channelmgr.ChannelSpec{Name: "c", MaxQueueLen: 4, Overflow: channelmgr.DropNewest}
			if name == "oldest" {
				spec.Overflow = channelmgr.DropOldest
			}
			a, b, s, join := apart(t, spec)
			for i := range 16 {
				o := text("x", i)
				o.NoBlock = i == 0 || i == 15 // reserved room, never dropped
				o.Sender = &actor.PID{Address: a.reg.Address(), Id: "me"}
				require.NoError(t, s.Send(o))
			}
			dropped := 11
			require.EqualValues(t, dropped, a.reg.Stats()["dropped_"+name])
			require.EqualValues(t, dropped, a.reg.Stats()["undelivered_overflow"])
			require.Len(t, a.undelivered, dropped)
			for _, u := range a.undelivered {
				require.Equal(t, messages.ReasonOverflow, u.Reason)
				require.Equal(t, "x", u.Target)
				require.Equal(t, "me", u.Sender.Id)
				require.NotNil(t, u.Msg)
			}
			join()
			require.Equal(t, want, b.settled(len(want)))
			require.NoError(t, s.Send(text("x", 99)))
			require.Equal(t, "x:99", b.settled(len(want) + 1)[len(want)])
		})
	}
}

// Large messages are dropped whole, from a queue bounded in bytes.
func TestDropOldestLarge(t *testing.T) {
	a, b, s, join := apart(t, channelmgr.ChannelSpec{Name: "c", MaxQueueBytes: 1 << 20, Overflow: channelmgr.DropOldest})
	for i := range 20 {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: "c", Target: "x", Msg: wrapperspb.Bytes(make([]byte, 150<<10+i))}))
		require.NoError(t, s.Send(text("x", i)))
	}
	require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: "c", Target: "x", Msg: wrapperspb.Bytes(make([]byte, 2<<20))}), "alone it may be larger than the bound")
	require.NoError(t, s.Send(text("x", 20)))
	require.EqualValues(t, 41, a.reg.Stats()["dropped_oldest"])
	for i := range 6 {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: "c", Target: "x", Msg: wrapperspb.Bytes(make([]byte, 150<<10+i))}))
	}
	join()
	require.Eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.sizes) == 6 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 150<<10, b.sizes[0])
}

// Contradictory modes are refused with the reason.
func TestModesThatContradict(t *testing.T) {
	for want, c := range map[string]channelmgr.ChannelSpec{
		"contradict each other": {Name: "c", Delivery: channelmgr.AtLeastOnce, Ordering: channelmgr.Monotonic},
		"needs delivery":        {Name: "c", Ordering: channelmgr.Causal},
		"lose the newest":       {Name: "c", Ordering: channelmgr.Monotonic, Overflow: channelmgr.DropOldest},
		"supersede each other":  {Name: "data", Ordering: channelmgr.Monotonic},
		"delivery 7 is unknown": {Name: "c", Delivery: 7},
		"ordering 7 is unknown": {Name: "c", Ordering: 7},
		"overflow 7 is unknown": {Name: "c", Overflow: 7},
		"lanes is 10000; use 1": {Name: "c", Lanes: 10_000},
		"lanes is -1; use 1 to": {Name: "c", Lanes: -1},
	} {
		require.ErrorContains(t, c.Validate(), want)
	}
}

// acked starts two nodes with an acked channel whose links can be broken.
func acked(t *testing.T, more ...func(*channelmgr.Config)) (a, b *node, faults *transport.Faults, s *channelmgr.Session) {
	t.Helper()
	faults = transport.NewFaults(1)
	m := transport.NewMemory()
	with := append([]func(*channelmgr.Config){func(c *channelmgr.Config) {
		c.Channels = []channelmgr.ChannelSpec{{Name: "c", Delivery: channelmgr.AtLeastOnce, Lanes: 2}}
		c.Timing.BackoffMin = time.Millisecond
	}}, more...)
	a, b = start(t, "a", faults.Node("a", m), handshake.ModeInsecure, with...), start(t, "b", faults.Node("b", m), handshake.ModeInsecure, with...)
	return a, b, faults, a.connect(b)
}

// On a channel with delivery AtLeastOnce nothing is lost and nothing comes
// twice, in order, across links that break, small messages among large; then
// nothing is kept any more.
func TestAckedAcrossResets(t *testing.T) {
	a, b, faults, s := acked(t)
	const targets, rounds = 5, 6000
	for i := range rounds {
		o := text(fmt.Sprint("t", i%targets), i)
		if i%1000 == 500 {
			o.Msg = wrapperspb.String(strconv.Itoa(i) + " " + strings.Repeat("x", 200<<10))
		}
		require.NoError(t, s.Send(o))
		if i%500 == 499 {
			faults.Reset("a", "b")
		}
		if i%7 == 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
	require.Eventually(t, func() bool { return b.count() >= rounds }, 30*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return s.Kept() == 0 }, 10*time.Second, 10*time.Millisecond)
	require.Len(t, b.all(), rounds)
	next := make(map[string]int)
	for _, g := range b.all() {
		target, v, _ := strings.Cut(g, ":")
		v, _, _ = strings.Cut(v, " ")
		n, _ := strconv.Atoi(v)
		require.Equal(t, target, fmt.Sprint("t", n%targets))
		require.Equal(t, next[target], n/targets, target)
		next[target]++
	}
	require.Positive(t, a.reg.Stats()["retransmitted"], "the resets lost nothing: they were none")
}

// A receipt tells what became of a message: it is there, it could not be
// delivered, or, when the session ends, nobody knows or it never left.
func TestReceipts(t *testing.T) {
	a, b, faults, s := acked(t)
	deliver := func(channel, target string) <-chan channelmgr.Receipt {
		r := make(chan channelmgr.Receipt, 1)
		require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: channel, Target: target, Msg: wrapperspb.String("x"), Receipt: r}))
		return r
	}
	for _, channel := range []string{"c", "data"} { // data has a twin
		require.Equal(t, channelmgr.Receipt{}, <-deliver(channel, "x"))
		require.Equal(t, channelmgr.Receipt{Reason: messages.ReasonNoSuchActor}, <-deliver(channel, "nobody"))
		require.Equal(t, channelmgr.Receipt{}, <-deliver(channel, "x"))
	}
	require.Equal(t, 4, b.count())
	faults.Cut("a", "b")
	written := deliver("c", "x")
	time.Sleep(20 * time.Millisecond) // for it to be written
	a.reg.EndSession(s.Peer(), 1, messages.ReasonNodeDown)
	require.Equal(t, channelmgr.Receipt{Unsure: true}, <-written)
	s = a.reg.Ensure(b.reg.Self(), 1)
	queued := deliver("c", "x")
	a.reg.EndSession(s.Peer(), 1, messages.ReasonNodeDown)
	require.Equal(t, channelmgr.Receipt{Reason: messages.ReasonNodeDown}, <-queued)
}

// A peer that ends its session with us while we keep ours, as after a wrong
// suspicion, gets what was not confirmed once, in order.
func TestAckedAcrossASessionsEnd(t *testing.T) {
	a, b, _, s := acked(t)
	const rounds = 3000
	for i := range rounds {
		require.NoError(t, s.Send(text("x", i)))
		if i%300 == 299 {
			b.reg.EndSession(a.reg.Self(), 1, messages.ReasonNodeDown)
		}
		if i%5 == 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
	require.Eventually(t, func() bool { return b.count() >= rounds }, 30*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return s.Kept() == 0 }, 10*time.Second, 10*time.Millisecond)
	got := b.all()
	require.Len(t, got, rounds)
	for i, g := range got {
		require.Equal(t, fmt.Sprint("x:", i), g)
	}
}
