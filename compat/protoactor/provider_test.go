package protoactor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"github.com/asynkron/protoactor-go/cluster/identitylookup/disthash"
	"github.com/asynkron/protoactor-go/remote"
	cmap "github.com/orcaman/concurrent-map"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr"
)

func init() { cmap.SHARD_COUNT = 1 }

var quiet = slog.New(slog.DiscardHandler)

// node is one of several in this process.
type node struct {
	*maquis.Distribution
	system  *actor.ActorSystem
	cluster *cluster.Cluster
	name    string

	mu     sync.Mutex
	events []any // what remote would publish, and topologies
}

func startNode(t *testing.T, name string, seeds ...string) *node {
	t.Helper()
	n := &node{name: name, system: actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))}
	n.system.EventStream.Subscribe(func(e any) {
		switch e.(type) {
		case *remote.EndpointConnectedEvent, *remote.EndpointTerminatedEvent, *cluster.ActivationTerminated:
			n.mu.Lock()
			n.events = append(n.events, e)
			n.mu.Unlock()
		}
	})
	d, err := maquis.Start(context.Background(), n.system, maquis.WithProfile("test"), maquis.WithName(name), maquis.WithLogger(quiet),
		maquis.WithSecret("a secret of the tests, long enough"), maquis.WithSeeds(seeds...), maquis.WithCodec(Codec()),
		maquis.WithTiming(channelmgr.Timing{Heartbeat: 200 * time.Millisecond, SilentAfter: 2 * time.Second, BackoffMin: 10 * time.Millisecond}))
	require.NoError(t, err)
	n.Distribution = d
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = d.Stop(ctx)
	})
	return n
}

// run makes the node part of a protoactor cluster.
func (n *node) run(start func(*cluster.Cluster), remotely *remote.Config, lookup cluster.IdentityLookup, opts ...cluster.ConfigOption) {
	kind := cluster.NewKind("Where", actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*wrapperspb.StringValue); ok {
			c.Respond(wrapperspb.String(n.name))
		}
	}))
	n.cluster = cluster.New(n.system, cluster.Configure("shop", New(n.Distribution), lookup, remotely, append(opts, cluster.WithKinds(kind))...))
	start(n.cluster)
}

func (n *node) member() {
	n.run((*cluster.Cluster).StartMember, Remote(n.Distribution), disthash.New())
}

func (n *node) heard(want func(any) bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.events, want)
}

// where asks a grain for the node that it is on.
func (n *node) where(identity string) string {
	res, err := n.cluster.Request(identity, "Where", wrapperspb.String("?"), cluster.WithTimeout(5*time.Second))
	if err != nil {
		return "error: " + err.Error()
	}
	return res.(*wrapperspb.StringValue).Value
}

func (n *node) hosts() string {
	var list []string
	for _, m := range n.cluster.MemberList.Members().Members() {
		name, _, _ := strings.Cut(m.Host, "~")
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func eventually(t *testing.T, f func() bool, msg ...any) {
	t.Helper()
	require.Eventually(t, f, 20*time.Second, 10*time.Millisecond, msg...)
}

// Members, grains and events follow the roster; a node that shuts its cluster
// down, and one that leaves, hand their grains over; a client has none.
func TestCluster(t *testing.T) {
	a := startNode(t, "a")
	b, c := startNode(t, "b", a.Self().Addrs[0]), startNode(t, "c", a.Self().Addrs[0])
	client := startNode(t, "client", a.Self().Addrs[0])
	var wg sync.WaitGroup
	for _, n := range []*node{a, b, c} {
		wg.Go(n.member)
	}
	wg.Go(func() { client.run((*cluster.Cluster).StartClient, Remote(client.Distribution), disthash.New()) })
	wg.Wait()
	all := []*node{a, b, c, client}
	for _, n := range all {
		eventually(t, func() bool { return n.hosts() == "a b c" }, n.name)
		require.Equal(t, n.Address(), n.system.Address(), "the address is Maquis's still")
	}
	require.Equal(t, "a b c client", strings.Join(a.NodeList(), " "))

	on := map[string][]string{}
	for i := range 40 {
		id := fmt.Sprint("g", i)
		w := a.where(id)
		on[w] = append(on[w], id)
		for _, n := range all {
			require.Equal(t, w, n.where(id))
		}
	}
	require.Len(t, on, 3)

	eventually(t, func() bool {
		return a.heard(func(e any) bool { ev, ok := e.(*remote.EndpointConnectedEvent); return ok && ev.Address == b.Address() })
	})
	require.False(t, a.heard(func(e any) bool { ev, ok := e.(*remote.EndpointConnectedEvent); return ok && ev.Address == a.Address() }))

	b.cluster.Shutdown(true)
	for _, n := range []*node{a, c, client} {
		eventually(t, func() bool { return n.hosts() == "a c" }, n.name)
		eventually(t, func() bool {
			return n.heard(func(e any) bool {
				ev, ok := e.(*remote.EndpointTerminatedEvent)
				return ok && ev.Address == b.Address()
			})
		})
		for _, id := range on["b"] {
			eventually(t, func() bool { w := n.where(id); return w == "a" || w == "c" })
		}
	}
	require.Contains(t, a.NodeList(), "b", "its node is still a member")
	require.True(t, a.heard(func(e any) bool { _, ok := e.(*cluster.ActivationTerminated); return ok }), "b told of the end of its grains")

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	require.NoError(t, c.Stop(ctx))
	eventually(t, func() bool { return client.hosts() == "a" })
	for _, id := range on["c"] {
		eventually(t, func() bool { return client.where(id) == "a" })
	}
	require.NoError(t, (&Provider{d: a.Distribution}).Shutdown(true), "one that serves nobody")
}

// protoactor's publish and subscribe works between nodes.
func TestPubSub(t *testing.T) {
	a := startNode(t, "a")
	b := startNode(t, "b", a.Self().Addrs[0])
	var wg sync.WaitGroup
	wg.Go(a.member)
	wg.Go(b.member)
	wg.Wait()
	eventually(t, func() bool { return a.hosts() == "a b" && b.hosts() == "a b" })
	got := make(chan string, 16)
	pid := b.system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok {
			got <- m.Value
		}
	}))
	for i := range 4 { // topics are grains: some are on a, some on b
		topic := fmt.Sprint("topic", i)
		_, err := b.cluster.SubscribeByPid(topic, pid)
		require.NoError(t, err)
		_, err = a.cluster.Publisher().Publish(context.Background(), topic, wrapperspb.String(topic))
		require.NoError(t, err)
		select {
		case s := <-got:
			require.Equal(t, topic, s)
		case <-time.After(10 * time.Second):
			require.FailNow(t, "not delivered", topic)
		}
	}
}

// Any remote configuration will do: the address is put back, the remote's is an
// alias, its listener is closed, and remote.Spawn works over Maquis.
func TestOwnRemoteConfiguration(t *testing.T) {
	a := startNode(t, "a")
	b := startNode(t, "b", a.Self().Addrs[0])
	var at string
	props := actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*wrapperspb.StringValue); ok {
			c.Respond(wrapperspb.String("spawned on a"))
		}
	})
	a.run(func(c *cluster.Cluster) {
		c.StartMember()
		at = a.Self().Tags["maquis.aliases"]
	}, remote.Configure("127.0.0.1", 0, remote.WithKinds(remote.NewKind("worker", props))), disthash.New())
	b.member()
	require.Equal(t, a.Address(), a.system.Address())
	require.Contains(t, at, "127.0.0.1:")
	eventually(t, func() bool { return a.hosts() == "a b" && b.hosts() == "a b" })
	for i := range 20 {
		id := fmt.Sprint("g", i)
		require.Equal(t, a.where(id), b.where(id))
	}
	for _, addr := range []string{a.Address(), at} {
		res, err := b.cluster.Remote.SpawnNamed(addr, "w"+addr, "worker", 5*time.Second)
		require.NoError(t, err)
		require.Zero(t, res.StatusCode)
		said, err := b.system.Root.RequestFuture(res.Pid, wrapperspb.String("?"), 5*time.Second).Result()
		require.NoError(t, err)
		require.Equal(t, "spawned on a", said.(*wrapperspb.StringValue).Value)
		res, err = b.cluster.Remote.SpawnNamed(addr, "w"+addr, "worker", 5*time.Second)
		require.NoError(t, err)
		require.Equal(t, remote.ResponseStatusCodePROCESSNAMEALREADYEXIST.ToInt32(), res.StatusCode)
	}
	res, err := b.cluster.Remote.Spawn(a.Address(), "nobody", 5*time.Second)
	require.NoError(t, err)
	require.Equal(t, remote.ResponseStatusCodeERROR.ToInt32(), res.StatusCode)
}

func TestWrongUse(t *testing.T) {
	a := startNode(t, "a")
	other := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))
	c := cluster.New(other, cluster.Configure("shop", New(a.Distribution), disthash.New(), Remote(a.Distribution)))
	require.ErrorContains(t, New(a.Distribution).begin(c), "another actor system")
	_, err := Mirror(other)
	require.ErrorContains(t, err, "no Distribution")
	a.member()
	p := a.cluster.Config.ClusterProvider.(*Provider)
	require.ErrorContains(t, p.StartMember(a.cluster), "serves a cluster already")

	var many []*cluster.Kind
	for i := range 60 {
		many = append(many, cluster.NewKind(fmt.Sprintf("a kind with quite a long name, number %d", i), actor.PropsFromFunc(func(actor.Context) {})))
	}
	b := startNode(t, "b")
	defer func() {
		require.Regexp(t, `^protoactor: announcing 62 kinds: roster: 1 tags of \d+ bytes; at most 64 of together 1024 are allowed$`, recover())
	}()
	func() {
		b.run((*cluster.Cluster).StartMember, Remote(b.Distribution), disthash.New(), cluster.WithKinds(many...))
	}()
}

// Endpoint events for those without a cluster.
func TestMirror(t *testing.T) {
	a := startNode(t, "a")
	cancel, err := Mirror(a.system)
	require.NoError(t, err)
	defer cancel()
	b := startNode(t, "b", a.Self().Addrs[0])
	eventually(t, func() bool {
		return a.heard(func(e any) bool { ev, ok := e.(*remote.EndpointConnectedEvent); return ok && ev.Address == b.Address() })
	})
	b.Kill()
	eventually(t, func() bool {
		return a.heard(func(e any) bool {
			ev, ok := e.(*remote.EndpointTerminatedEvent)
			return ok && ev.Address == b.Address()
		})
	})
	require.Len(t, a.events, 2)
}

func TestTag(t *testing.T) {
	var d decoder
	in := tag{Cluster: "shop", ID: "x", Generation: 2, Kinds: []string{"A", "B,C"}}
	for range 2 {
		out, ok := d.decode(in.String())
		require.True(t, ok)
		require.Equal(t, in, out)
	}
	for _, bad := range []string{"", "{", `{"c":"shop"}`, `{"i":"x"}`, "null", `[]`} {
		_, ok := d.decode(bad)
		require.False(t, ok, bad)
	}
	m := in.member(maquis.Member{Name: "a", Incarnation: 7, Generation: 2, Addrs: []string{"[::1]:80"}})
	require.Equal(t, "x", m.Id)
	require.Equal(t, maquis.Member{Name: "a", Incarnation: 7, Addrs: []string{"[::1]:80"}}.Address(), m.Address())
	require.EqualValues(t, 80, m.Port)
	require.Equal(t, "x~3", in.member(maquis.Member{Name: "a", Incarnation: 7, Generation: 3, Addrs: []string{"h:80"}}).Id, "back under an id that is not blocked")
}
