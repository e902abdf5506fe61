package actors_test

import (
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// tap notes on which channel messages arrive, by target and type.
type tap struct {
	mu sync.Mutex
	on map[string]string
}

func (r *tap) see(p maquis.Packet) maquis.Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on == nil {
		r.on = make(map[string]string)
	}
	r.on[p.Type] = p.Channel
	return maquis.Pass
}

func (r *tap) wait(t *testing.T, typ, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.on[typ] == want
	}, 10*time.Second, time.Millisecond, "%s does not come on %s", typ, want)
}

// The channel of a message: the send's, the PID's, a rule's, its type's, its
// question's, data. In this order.
func TestWhichChannel(t *testing.T) {
	const text, blob, number = "google.protobuf.StringValue", "google.protobuf.BytesValue", "google.protobuf.Int64Value"
	var at, back tap
	specs := []maquis.ChannelSpec{{Name: "texts", Types: []string{text}}, {Name: "bulk"}, {Name: "named"}, {Name: "urgent", Priority: maquis.High}}
	rules := []maquis.RoutingRule{{MinSize: 1000, Channel: "bulk"}, {Urgency: []maquis.Priority{maquis.High}, Channel: "urgent"}}
	opts := []maquis.Option{maquis.WithChannels(specs...), maquis.WithRoutingRules(rules...)}
	a := startNode(t, "a", append(opts, maquis.WithIntercept(back.see))...)
	b := startNode(t, "b", append(opts, maquis.WithIntercept(at.see), maquis.WithSeeds(a.addr()))...)
	require.NoError(t, b.WaitForMembers(ctxFor(t, 10*time.Second), 2))
	_, err := b.system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		switch c.Message().(type) {
		case *wrapperspb.BytesValue:
			c.Respond(wrapperspb.Int64(1))
		case *wrapperspb.Int64Value:
			c.Respond(wrapperspb.String("by its type"))
		}
	}), "x")
	require.NoError(t, err)
	pid := a.PID("b", "x")

	a.system.Root.Send(pid, wrapperspb.Int32(1))
	at.wait(t, "google.protobuf.Int32Value", "data")
	a.system.Root.Send(pid, wrapperspb.String("short"))
	at.wait(t, text, "texts")
	a.system.Root.Send(pid, wrapperspb.String(string(make([]byte, 2000))))
	at.wait(t, text, "bulk")
	a.system.Root.Send(a.Bind(pid, maquis.WithChannel("named")), wrapperspb.String("short"))
	at.wait(t, text, "named")
	require.NoError(t, a.ForwardMessage(a.Bind(pid, maquis.WithChannel("texts")), wrapperspb.String("short"), maquis.WithChannel("urgent")))
	at.wait(t, text, "urgent")
	require.NoError(t, a.ForwardMessage(pid, wrapperspb.Int32(1), maquis.WithUrgency(maquis.High)))
	at.wait(t, "google.protobuf.Int32Value", "urgent")
	a.system.Root.Send(a.Bind(pid, maquis.WithUrgency(maquis.High)), wrapperspb.UInt32(1))
	at.wait(t, "google.protobuf.UInt32Value", "urgent")

	ask := func(pid *actor.PID, m any) {
		_, err := a.system.Root.RequestFuture(pid, m, 10*time.Second).Result()
		require.NoError(t, err)
	}
	named := a.Bind(pid, maquis.WithChannel("named"))
	ask(named, wrapperspb.Bytes(nil))
	back.wait(t, number, "named") // as its question
	ask(named, wrapperspb.Int64(1))
	back.wait(t, text, "texts") // its own type comes first

	require.NoError(t, a.ConfigureRouting(maquis.RoutingRule{Types: []string{text}, Channel: "bulk"}))
	a.system.Root.Send(pid, wrapperspb.String("short"))
	at.wait(t, text, "bulk")
	require.ErrorContains(t, a.ConfigureRouting(maquis.RoutingRule{Channel: "bulky"}), `do you mean "bulk"?`)
	require.NoError(t, a.ConfigureRouting())
	a.system.Root.Send(pid, wrapperspb.String("short"))
	at.wait(t, text, "texts")
}

// An answer to a question on a channel that is unknown here rides on data.
func TestAnswerOnUnknownChannel(t *testing.T) {
	a := startNode(t, "a", maquis.WithChannels(maquis.ChannelSpec{Name: "new"}))
	b := startNode(t, "b", maquis.WithSeeds(a.addr()))
	require.NoError(t, b.WaitForMembers(ctxFor(t, 10*time.Second), 2))
	_, err := b.system.Root.SpawnNamed(echo(), "echo")
	require.NoError(t, err)
	res, err := a.system.Root.RequestFuture(a.PID("b", "echo", maquis.WithChannel("new")), wrapperspb.String("x"), 10*time.Second).Result()
	require.NoError(t, err)
	require.Equal(t, "echo x", res.(*wrapperspb.StringValue).Value)
}

// A preset's channels can be sent on.
func TestChannelPreset(t *testing.T) {
	var at tap
	a := startNode(t, "a", maquis.WithChannelPreset("foundation"))
	b := startNode(t, "b", maquis.WithChannelPreset("foundation"), maquis.WithIntercept(at.see), maquis.WithSeeds(a.addr()))
	require.NoError(t, b.WaitForMembers(ctxFor(t, 10*time.Second), 2))
	var names []string
	for _, c := range a.Channels() {
		names = append(names, c.Name)
	}
	require.Equal(t, []string{"coordination", "data", "events", "gossip"}, names)
	_, err := b.system.Root.SpawnNamed(echo(), "x")
	require.NoError(t, err)
	for _, name := range names {
		a.system.Root.Send(a.PID("b", "x", maquis.WithChannel(name)), wrapperspb.String("x"))
		at.wait(t, "google.protobuf.StringValue", name)
	}
	_, err = maquis.Start(t.Context(), quietSystem(), maquis.WithProfile("test"), maquis.WithInsecure(), maquis.WithChannelPreset("fundation"))
	require.ErrorContains(t, err, "use one of foundation, planes")
}

// Broadcasts on a channel go over the tree of the overlay that it is bound to,
// those on others over the first one's.
func TestChannelOverlay(t *testing.T) {
	var mu sync.Mutex
	over := make(map[string]int) // messages of trees, by overlay
	see := func(p maquis.Packet) maquis.Verdict {
		if p.Type == "maquis.v1.PlumGossip" {
			mu.Lock()
			over[p.Overlay]++
			mu.Unlock()
		}
		return maquis.Pass
	}
	opts := []maquis.Option{
		maquis.WithOverlays(maquis.OverlaySpec{}, maquis.OverlaySpec{ID: "far", Kind: maquis.HyParView}),
		maquis.WithChannels(maquis.ChannelSpec{Name: "news", Overlay: "far"}), maquis.WithIntercept(see),
	}
	n := cluster(t, opts, "a", "b")
	for i, c := range []struct{ channel, overlay string }{{"news", "far"}, {"data", "main"}} {
		got := make(chan struct{}, 1)
		pid := n[1].system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if m, ok := c.Message().(*wrapperspb.Int64Value); ok && m.Value == int64(i) {
				select {
				case got <- struct{}{}:
				default:
				}
			}
		}))
		_, err := n[1].SubscribeBroadcast(c.channel, pid)
		require.NoError(t, err)
		mu.Lock()
		clear(over)
		mu.Unlock()
		require.Eventually(t, func() bool { // again and again: an overlay may have no neighbors yet
			require.NoError(t, n[0].Broadcast(c.channel, wrapperspb.Int64(int64(i))))
			select {
			case <-got:
				return true
			case <-time.After(50 * time.Millisecond):
				return false
			}
		}, 10*time.Second, time.Millisecond)
		mu.Lock()
		require.NotZero(t, over[c.overlay], "%v", over)
		require.Equal(t, c.overlay == "far", over["far"] > 0, "%v", over) // news of members go over the first, too
		mu.Unlock()
	}
	_, err := maquis.Start(t.Context(), quietSystem(), maquis.WithProfile("test"), maquis.WithInsecure(), maquis.WithChannels(maquis.ChannelSpec{Name: "news", Overlay: "fra"}))
	require.ErrorContains(t, err, `binds "news" to overlay "fra", which this node does not have; it has main`)
}
