package actors_test

import (
	"fmt"
	"sync"
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

// slow is an actor that takes a message only when it is let.
type slow struct {
	gate chan struct{}
	got  atomic.Int64
	most atomic.Int64 // messages that waited in its mailbox
	last atomic.Int64
	bad  atomic.Int64 // out of order
}

func newSlow() *slow { return &slow{gate: make(chan struct{})} }

func (s *slow) Receive(c actor.Context) {
	m, ok := c.Message().(*wrapperspb.Int64Value)
	if !ok {
		return
	}
	<-s.gate
	s.got.Add(1)
	if before := s.last.Swap(m.Value); m.Value <= before {
		s.bad.Add(1)
	}
}

func (s *slow) spawn(t *testing.T, system *actor.ActorSystem, name string, box actor.MailboxProducer) {
	t.Helper()
	_, err := system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return s }, actor.WithMailbox(box)), name)
	require.NoError(t, err)
}

// An actor with a full mailbox, protoactor's or ours, holds up nothing but its own
// flow, for longer than it takes to declare a silent node down: nobody is
// suspected, other lanes and other actors on its lane go on. When it takes messages
// again all come, in order.
func TestFullMailbox(t *testing.T) {
	for name, box := range map[string]actor.MailboxProducer{"bounded": actor.Bounded(4), "mailbox": maquis.Mailbox(4)} {
		t.Run(name, func(t *testing.T) {
			n := cluster(t, []maquis.Option{
				maquis.WithTransport(transport.NewMemory()), maquis.WithInsecure(),
				maquis.WithChannels(maquis.ChannelSpec{Name: "bulk"}, maquis.ChannelSpec{Name: "orders", Delivery: maquis.AtLeastOnce}),
			}, "a", "b", "c")
			a, b := n[0], n[1]
			s := newSlow()
			s.spawn(t, b.system, "slow", box)
			suspected := make(chan any, 100)
			for _, k := range n {
				k.system.EventStream.Subscribe(func(e any) {
					switch e.(type) {
					case *maquis.NodeSuspect, *maquis.NodeDown:
						suspected <- e
					}
				})
			}
			const count = 500
			for i := range int64(count) {
				a.system.Root.Send(a.PID("b", "slow"), wrapperspb.Int64(i+1))
			}
			_, err := b.system.Root.SpawnNamed(echo(), "echo")
			require.NoError(t, err)
			for end := time.Now().Add(2 * fast.SilentAfter); time.Now().Before(end); {
				for _, channel := range []string{"data", "bulk", "orders"} {
					_, err := maquis.Call[*wrapperspb.StringValue](ctxFor(t, 2*time.Second), a.Distribution, a.PID("b", "echo"), wrapperspb.String("x"), maquis.WithChannel(channel))
					require.NoError(t, err, channel)
				}
				time.Sleep(10 * time.Millisecond)
			}
			require.Empty(t, suspected)
			require.Zero(t, s.got.Load())
			close(s.gate)
			require.Eventually(t, func() bool { return s.got.Load() == count }, 10*time.Second, time.Millisecond)
			require.Zero(t, s.bad.Load())
			require.Empty(t, a.lostNow())
		})
	}
}

// Mailbox(n) holds no more than n messages from other nodes; the rest waits at
// their senders, whose stall is told.
func TestMailboxBounds(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b := c.Start("a", nil), c.Start("b", nil)
		c.Settle()
		var stalls []*maquis.ChannelStalled
		var mu sync.Mutex
		a.System.EventStream.Subscribe(func(e any) {
			if s, ok := e.(*maquis.ChannelStalled); ok {
				mu.Lock()
				stalls = append(stalls, s)
				mu.Unlock()
			}
		})
		s := newSlow()
		var box actor.Mailbox
		s.spawn(t, b.System, "slow", func() actor.Mailbox { box = maquis.Mailbox(10)(); return box })
		var sent atomic.Int64
		var stop atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := int64(1); !stop.Load(); i++ {
				a.System.Root.Send(a.PID("b", "slow"), wrapperspb.Int64(i))
				sent.Store(i)
				if i%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
		c.Pass(3 * time.Second)
		require.LessOrEqual(t, box.UserMessageCount(), 10)
		before := sent.Load()
		require.Less(t, before, int64(20_000), "the sender was not held up")
		mu.Lock()
		require.NotEmpty(t, stalls)
		require.Equal(t, "b", stalls[0].Node)
		require.Equal(t, "data", stalls[0].Channel)
		require.Equal(t, time.Second, stalls[0].For)
		mu.Unlock()
		close(s.gate)
		c.Pass(time.Second)
		stop.Store(true)
		<-done
		c.Pass(time.Second)
		require.Greater(t, sent.Load(), before)
		require.Equal(t, sent.Load(), s.got.Load()+int64(len(c.Undelivered())))
		require.Zero(t, s.bad.Load())
	})
}

// Two actors with small mailboxes that flood each other across nodes do not
// deadlock: each waits no longer than the channel's block timeout, and every message
// is delivered or comes back.
func TestFloodBothWays(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b := c.Start("a", nil), c.Start("b", nil)
		c.Settle()
		const count = 80_000 // more than a window
		var got, finished atomic.Int64
		flood := func(n *actorstest.Node, to *actor.PID) {
			_, err := n.System.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				switch c.Message().(type) {
				case *wrapperspb.BoolValue:
					for i := range int64(count) { // in one go: meanwhile it takes nothing
						c.Send(to, wrapperspb.Int64(i))
					}
					finished.Add(1)
				case *wrapperspb.Int64Value:
					got.Add(1)
				}
			}, actor.WithMailbox(maquis.Mailbox(16))), "flood")
			require.NoError(t, err)
		}
		brief := maquis.WithChannel("brief")
		flood(a, a.PID("b", "flood", brief))
		flood(b, b.PID("a", "flood", brief))
		for _, n := range []*actorstest.Node{a, b} {
			n.System.Root.Send(n.PID(n.Name(), "flood"), wrapperspb.Bool(true))
		}
		lost := func() int64 { return int64(a.Stats()["undelivered_overflow"] + b.Stats()["undelivered_overflow"]) }
		c.Until(10*time.Minute, func() error {
			if finished.Load() < 2 || got.Load()+lost() < 2*count {
				return fmt.Errorf("%d finished; %d got, %d lost; %v; %v", finished.Load(), got.Load(), lost(), a.Stats(), b.Stats())
			}
			return nil
		})
		require.EqualValues(t, 2*count, got.Load()+lost())
		require.Positive(t, lost(), "neither ever waited: the windows did not close")
	}, actorstest.WithNodes(maquis.WithChannels(maquis.ChannelSpec{Name: "brief", BlockTimeout: time.Millisecond})))
}
