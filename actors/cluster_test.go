package actors_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

const secret = "a secret of the tests, long enough"

func init() { cmap.SHARD_COUNT = 1 } // an empty actor system is 24 times smaller

func TestMain(m *testing.M) {
	if os.Getenv("MAQUIS_TEST_CHILD") != "" {
		child()
		return
	}
	// protoactor's dead-letter throttle ends by itself, a second after the last
	// dead letter.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

func quietSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
}

// node is one node of a test's cluster.
type node struct {
	*maquis.Distribution
	system *actor.ActorSystem
	mu     sync.Mutex
	lost   []*maquis.Undelivered
}

// fast are times for tests: detection in a second or two.
var fast = channelmgr.Timing{Heartbeat: 200 * time.Millisecond, SilentAfter: 2 * time.Second, BackoffMin: 10 * time.Millisecond}

func startNode(t *testing.T, name string, opts ...maquis.Option) *node {
	t.Helper()
	n := &node{system: quietSystem()}
	n.system.EventStream.Subscribe(func(e any) {
		if u, ok := e.(*maquis.Undelivered); ok {
			n.mu.Lock()
			n.lost = append(n.lost, u)
			n.mu.Unlock()
		}
	})
	all := append([]maquis.Option{maquis.WithProfile("test"), maquis.WithName(name), maquis.WithSecret(secret), maquis.WithTiming(fast), maquis.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	d, err := maquis.Start(context.Background(), n.system, all...)
	require.NoError(t, err)
	n.Distribution = d
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = d.Stop(ctx)
		n.system.Shutdown()
	})
	return n
}

func (n *node) addr() string { return n.Self().Addrs[0] }

func ctxFor(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// cluster starts nodes that know each other.
func cluster(t *testing.T, opts []maquis.Option, names ...string) []*node {
	t.Helper()
	var nodes []*node
	for i, name := range names {
		o := opts
		if i > 0 {
			o = append(o[:len(o):len(o)], maquis.WithSeeds(nodes[0].addr()))
		}
		nodes = append(nodes, startNode(t, name, o...))
	}
	for _, n := range nodes {
		if err := n.WaitForMembers(ctxFor(t, 20*time.Second), len(names)); err != nil {
			for _, k := range nodes {
				t.Logf("%s knows %v, stats %v", k.Self().Name, k.NodeList(), k.Stats())
			}
			t.Fatal(err)
		}
	}
	return nodes
}

// overTransports runs a test on the network in memory and on TCP with TLS.
func overTransports(t *testing.T, f func(t *testing.T, opts []maquis.Option)) {
	t.Run("memory", func(t *testing.T) {
		f(t, []maquis.Option{maquis.WithTransport(transport.NewMemory()), maquis.WithInsecure()})
	})
	t.Run("tls", func(t *testing.T) { f(t, nil) })
}

// echo answers strings and ignores the rest.
func echo() *actor.Props {
	return actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok && c.Sender() != nil {
			c.Respond(wrapperspb.String("echo " + m.Value))
		}
	})
}

// log is an actor that keeps what it gets.
type logActor struct {
	mu  sync.Mutex
	got []any
}

func (l *logActor) props(first func(actor.Context)) *actor.Props {
	return actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			if first != nil {
				first(c)
			}
		case *actor.Stopping, *actor.Stopped, *actor.Restarting:
		default:
			l.mu.Lock()
			l.got = append(l.got, m)
			l.mu.Unlock()
		}
	})
}

func (l *logActor) all() []any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]any(nil), l.got...)
}

func (l *logActor) terminated() (out []*actor.Terminated) {
	for _, m := range l.all() {
		if t, ok := m.(*actor.Terminated); ok {
			out = append(out, t)
		}
	}
	return out
}

// A PID of an actor on another node just works.
func TestVerbs(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b")
		a, b := n[0], n[1]
		_, err := b.system.Root.SpawnNamed(echo(), "echo")
		require.NoError(t, err)
		pid := a.PID("b", "echo")

		res, err := a.system.Root.RequestFuture(pid, wrapperspb.String("hi"), 5*time.Second).Result()
		require.NoError(t, err)
		require.Equal(t, "echo hi", res.(*wrapperspb.StringValue).Value)

		got, err := maquis.Call[*wrapperspb.StringValue](ctxFor(t, 5*time.Second), a.Distribution, pid, wrapperspb.String("you"))
		require.NoError(t, err)
		require.Equal(t, "echo you", got.Value)

		_, err = a.system.Root.RequestFuture(a.PID("b", "nobody"), wrapperspb.String("hi"), 5*time.Second).Result()
		require.ErrorIs(t, err, actor.ErrDeadLetter)
		_, err = maquis.Call[*wrapperspb.StringValue](ctxFor(t, 5*time.Second), a.Distribution, a.PID("b", "nobody"), wrapperspb.String("you"))
		require.ErrorIs(t, err, maquis.ErrDeadLetter)
		_, err = a.system.Root.RequestFuture(a.PID("nowhere", "x"), wrapperspb.String("hi"), 5*time.Second).Result()
		require.ErrorIs(t, err, actor.ErrDeadLetter)

		require.Eventually(t, func() bool { return len(a.lostNow()) >= 3 }, 5*time.Second, time.Millisecond)
	})
}

func (n *node) lostNow() []*maquis.Undelivered {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*maquis.Undelivered(nil), n.lost...)
}

// Watch tells exactly once, with the reason and the PID that was given.
func TestWatch(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b")
		a, b := n[0], n[1]
		there, err := b.system.Root.SpawnNamed(echo(), "target")
		require.NoError(t, err)
		byName, missing := a.PID("b", "target"), a.PID("b", "missing")
		var l logActor
		a.system.Root.Spawn(l.props(func(c actor.Context) {
			c.Watch(byName)
			c.Watch(missing)
		}))
		require.Eventually(t, func() bool { return len(l.terminated()) == 1 }, 5*time.Second, time.Millisecond)
		require.Equal(t, actor.TerminatedReason_NotFound, l.terminated()[0].Why)
		require.True(t, l.terminated()[0].Who.Equal(missing))

		_ = b.system.Root.StopFuture(there).Wait()
		require.Eventually(t, func() bool { return len(l.terminated()) == 2 }, 5*time.Second, time.Millisecond)
		require.Equal(t, actor.TerminatedReason_Stopped, l.terminated()[1].Why)
		require.True(t, l.terminated()[1].Who.Equal(byName))
	})
}

// Remote Stop and Poison end an actor; StopFuture hears of it.
func TestStopFromAfar(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b")
		for i, end := range []func(*actor.PID) *actor.Future{n[0].system.Root.StopFuture, n[0].system.Root.PoisonFuture} {
			name := fmt.Sprint("victim", i)
			_, err := n[1].system.Root.SpawnNamed(echo(), name)
			require.NoError(t, err)
			require.NoError(t, end(n[0].PID("b", name)).Wait())
		}
	})
}

// A node that leaves says so, and its actors are terminated for watchers.
func TestLeave(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b", "c")
		var l logActor
		pid := n[0].PID("c", "echo")
		_, err := n[2].system.Root.SpawnNamed(echo(), "echo")
		require.NoError(t, err)
		n[0].system.Root.Spawn(l.props(func(c actor.Context) { c.Watch(pid) }))
		_, err = maquis.Call[*wrapperspb.StringValue](ctxFor(t, 5*time.Second), n[0].Distribution, pid, wrapperspb.String("x"))
		require.NoError(t, err)
		require.NoError(t, n[2].Stop(ctxFor(t, 5*time.Second)))
		for _, k := range n[:2] {
			require.Eventually(t, func() bool { m, ok := k.Member("c"); return ok && m.Status == maquis.Left }, 5*time.Second, time.Millisecond)
			require.Equal(t, []string{"a", "b"}, k.NodeList())
		}
		require.Eventually(t, func() bool { return len(l.terminated()) == 1 }, 5*time.Second, time.Millisecond)
		require.Equal(t, actor.TerminatedReason_AddressTerminated, l.terminated()[0].Why)
		_, err = n[0].system.Root.RequestFuture(pid, wrapperspb.String("late"), 5*time.Second).Result()
		require.ErrorIs(t, err, actor.ErrDeadLetter)
	})
}

// A second live node of the same name is refused.
func TestNameTaken(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b")
		again := startNode(t, "b", opts...)
		err := again.Join(ctxFor(t, 5*time.Second), n[0].addr())
		require.ErrorIs(t, err, maquis.ErrNameTaken)
		require.Equal(t, []string{"a", "b"}, n[0].NodeList())
	})
}

// Kinds are spawned elsewhere by name.
func TestSpawn(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b")
		require.NoError(t, n[1].Register("echo", echo()))
		require.Eventually(t, func() bool { return len(n[0].Members(maquis.HasKind("echo"))) == 1 }, 5*time.Second, time.Millisecond)
		ctx := ctxFor(t, 5*time.Second)
		pid, err := n[0].Spawn(ctx, "b", "echo")
		require.NoError(t, err)
		res, err := maquis.Call[*wrapperspb.StringValue](ctx, n[0].Distribution, pid, wrapperspb.String("x"))
		require.NoError(t, err)
		require.Equal(t, "echo x", res.Value)
		first, err := n[0].SpawnNamed(ctx, "b", "one", "echo")
		require.NoError(t, err)
		second, err := n[0].SpawnNamed(ctx, "b", "one", "echo")
		require.ErrorIs(t, err, maquis.ErrNameExists)
		require.True(t, first.Equal(second))
		_, err = n[0].Spawn(ctx, "b", "nothing")
		require.ErrorIs(t, err, maquis.ErrUnknownKind)
	})
}

// Options bound to a PID reach every verb; the PID stays equal.
func TestBind(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		opts = append(opts[:len(opts):len(opts)], maquis.WithChannels(maquis.ChannelSpec{Name: "bulk"}))
		n := cluster(t, opts, "a", "b")
		_, err := n[1].system.Root.SpawnNamed(echo(), "echo")
		require.NoError(t, err)
		plain := n[0].PID("b", "echo")
		bound := n[0].Bind(plain, maquis.WithChannel("bulk"))
		require.True(t, plain.Equal(bound))
		res, err := n[0].system.Root.RequestFuture(bound, wrapperspb.String("x"), 5*time.Second).Result()
		require.NoError(t, err)
		require.Equal(t, "echo x", res.(*wrapperspb.StringValue).Value)
		wrong := n[0].Bind(plain, maquis.WithChannel("no such channel"))
		_, err = n[0].system.Root.RequestFuture(wrong, wrapperspb.String("x"), 5*time.Second).Result()
		require.ErrorIs(t, err, actor.ErrDeadLetter)
		require.ErrorIs(t, n[0].ForwardMessage(plain, wrapperspb.String("x"), maquis.WithChannel("nope")), maquis.ErrUnknownChannel)
	})
}
