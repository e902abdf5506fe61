package actors_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// The conformance table: each row over every overlay and, where messages travel,
// every routing policy. The ids are those of Partisan's list of behaviors.

const conformanceNodes = 7

func conformanceName(i int) string {
	return fmt.Sprint("n", (i+conformanceNodes)%conformanceNodes)
}

// overlaySpec is the overlay of the i-th node. The server of a client-server
// overlay is n0; in a static one a node has the neighbors at distance 1 and 2.
func overlaySpec(kind string, i int) maquis.OverlaySpec {
	spec := maquis.OverlaySpec{Kind: kind}
	switch kind {
	case maquis.ClientServer:
		spec.Servers = []string{conformanceName(0)}
	case maquis.Static:
		for _, d := range []int{-2, -1, 1, 2} {
			spec.Neighbors = append(spec.Neighbors, conformanceName(i+d))
		}
	}
	return spec
}

// world starts the nodes of a conformance test: each has an echo actor.
type world struct {
	*actorstest.Cluster
	t    *testing.T
	kind string
	more []maquis.Option
	n    []*actorstest.Node
}

func boot(n *actorstest.Node) error {
	_, err := n.System.Root.SpawnNamed(echo(), "echo")
	return err
}

func (w *world) start(i int) *actorstest.Node {
	n := w.Start(conformanceName(i), boot, append([]maquis.Option{maquis.WithOverlays(overlaySpec(w.kind, i))}, w.more...)...)
	w.n = append(w.n, n)
	return n
}

// conformance runs a test over all overlays and policies, or with the first
// policy only, on virtual time. Those named real run on TCP, too.
func conformance(t *testing.T, policies []string, real bool, test func(t *testing.T, w *world), more ...maquis.Option) {
	run := func(t *testing.T, kind, policy string, real bool) {
		f := func(t *testing.T, c *actorstest.Cluster) {
			w := &world{Cluster: c, t: t, kind: kind, more: append(more[:len(more):len(more)], maquis.WithRouting(policy, 0))}
			for i := range conformanceNodes {
				w.start(i)
			}
			c.Settle()
			test(t, w)
		}
		if real {
			actorstest.RunReal(t, f)
		} else {
			actorstest.Run(t, f)
		}
	}
	for _, kind := range maquis.OverlayKinds() {
		for _, policy := range policies {
			t.Run(kind+"/"+policy, func(t *testing.T) { run(t, kind, policy, false) })
		}
		if real && (kind == maquis.HyParView || kind == maquis.FullMesh) {
			t.Run(kind+"/real", func(t *testing.T) { run(t, kind, policies[0], true) })
		}
	}
}

var (
	allPolicies = []string{"adaptive", "relay", "direct"}
	onePolicy   = []string{"adaptive"}
)

func text(s string) *wrapperspb.StringValue { return wrapperspb.String(s) }

// P-01: all nodes come to know all.
func TestP01Convergence(t *testing.T) {
	conformance(t, onePolicy, true, func(t *testing.T, w *world) {
		for _, n := range w.n {
			require.Len(t, n.NodeList(), conformanceNodes)
		}
	})
}

// P-02: a node has one control link to each neighbor, and data links for the
// channels that carry something.
func TestP02Links(t *testing.T) {
	conformance(t, onePolicy, false, func(t *testing.T, w *world) {
		w.Pass(40 * time.Second) // what only the joins needed is closed
		for _, n := range w.n {
			h := n.Health()
			require.LessOrEqual(t, int(n.Stats()["links"]), h.Neighbors+2, "%s: nothing is being sent", n.Name()) // an overlay may be trying others
			if w.kind == maquis.FullMesh {
				require.Equal(t, conformanceNodes-1, h.Neighbors)
				require.EqualValues(t, conformanceNodes-1, n.Stats()["links"])
			}
		}
	})
}

// P-03: clients have links to servers only, and yet reach each other.
func TestP03ClientServer(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		w := &world{Cluster: c, t: t, kind: maquis.ClientServer, more: []maquis.Option{maquis.WithRouting("relay", 0)}}
		for i := range conformanceNodes {
			w.start(i)
		}
		c.Settle()
		c.Pass(10 * time.Second)
		require.Equal(t, conformanceNodes-1, w.n[0].Health().Neighbors)
		for _, n := range w.n[1:] {
			require.Equal(t, 1, n.Health().Neighbors)
			require.EqualValues(t, 1, n.Stats()["links"])
		}
		p := w.n[3].Probe()
		p.Request(w.n[3].PID("n5", "echo"), text("x"))
		require.Equal(t, "echo x", actorstest.Expect[*wrapperspb.StringValue](p, 5*time.Second).Value)
	})
}

// P-04, P-05: a node leaves, another is made to leave, both come back.
func TestP04LeaveP05Rejoin(t *testing.T) {
	conformance(t, onePolicy, true, func(t *testing.T, w *world) {
		left := w.n[4]
		ctx := ctxFor(t, time.Minute)
		require.NoError(t, left.Leave(ctx))
		status := func(name string, want maquis.Status) func() error {
			return func() error {
				for _, n := range w.n {
					if m, _ := n.Member(name); n.Name() != name && n.Name() != left.Name() && m.Status != want {
						return fmt.Errorf("%s takes %s for %s", n.Name(), name, m.Status)
					}
				}
				return nil
			}
		}
		w.Until(20*time.Second, status("n4", maquis.Left))
		require.NoError(t, left.Join(ctx, w.n[1].Self().Addrs[0]))
		w.Settle()
		w.n[5].Crash()
		down := slices.Delete(slices.Clone(w.n), 5, 6)
		w.Until(20*time.Second, func() error {
			for _, n := range down {
				if m, _ := n.Member("n5"); m.Status != maquis.Down {
					return fmt.Errorf("%s takes n5 for %s", n.Name(), m.Status)
				}
			}
			return nil
		})
		require.NoError(t, w.n[0].ForceLeave(ctx, "n5"))
		w.Until(20*time.Second, func() error {
			for _, n := range down {
				if m, _ := n.Member("n5"); m.Status != maquis.Left {
					return fmt.Errorf("%s takes n5 for %s", n.Name(), m.Status)
				}
			}
			return nil
		})
		w.n[5].Restart()
		w.Settle()
		p := w.n[2].Probe()
		p.Request(w.n[2].PID("n5", "echo"), text("again"))
		require.Equal(t, "echo again", actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second).Value)
	})
}

// P-06, P-28: every node hears of each node up, down and left, in this order.
func TestP06EventsP28NodeMonitors(t *testing.T) {
	conformance(t, onePolicy, false, func(t *testing.T, w *world) {
		probes := make([]*actorstest.Probe, 0, len(w.n))
		for _, n := range w.n[:3] {
			p := n.Probe()
			n.SubscribeMembership(p.PID)
			require.Len(t, actorstest.Expect[*maquis.Snapshot](p, time.Second).Members, conformanceNodes)
			probes = append(probes, p)
		}
		before := w.n[4].Self().Incarnation
		w.n[4].Restart()
		w.Settle()
		require.NoError(t, w.n[6].Leave(ctxFor(t, time.Minute)))
		w.Pass(20 * time.Second)
		for _, p := range probes {
			down, up := false, false
			for left := false; !left; {
				switch e := actorstest.Expect[maquis.Event](p, time.Second).(type) {
				case *maquis.NodeDown:
					require.False(t, up)
					require.Equal(t, before, e.Member.Incarnation)
					down = true
				case *maquis.NodeUp:
					require.True(t, down, "the life before ends first")
					require.NotEqual(t, before, e.Member.Incarnation)
					up = true
				case *maquis.NodeLeft:
					require.Equal(t, "n6", e.Member.Name)
					left = true
				case *maquis.NodeSuspect, *maquis.MemberUpdated, *maquis.Isolated:
				default:
					t.Fatalf("%T", e)
				}
			}
			require.True(t, up)
		}
	})
}

// P-07: Join fails with the reason of each contact, or with its context.
func TestP07JoinFails(t *testing.T) {
	conformance(t, onePolicy, false, func(t *testing.T, w *world) {
		var err error
		for range 10 { // its first join may still be on its way, and answers this one
			if err = w.n[1].Join(ctxFor(t, 3*time.Second), "127.0.0.1:9", "127.0.0.1:10"); err != nil {
				break
			}
			w.Pass(time.Second)
		}
		var je *maquis.JoinError
		require.True(t, errors.As(err, &je), "%v", err)
		require.Len(t, je.Contacts, 2)
		for _, c := range je.Contacts {
			require.Equal(t, maquis.Reason("refused"), c.Reason)
		}
	})
}

// P-08, P-09: messages by name and by PID, both ways, and PIDs in payloads.
func TestP08ForwardP09PIDs(t *testing.T) {
	conformance(t, allPolicies, true, func(t *testing.T, w *world) {
		a := w.n[1]
		p := a.Probe()
		for _, n := range w.n {
			if n == a {
				continue
			}
			require.NoError(t, a.Send(n.Name(), "echo", text("by name"), maquis.WithSender(p.PID)))
			require.Equal(t, "echo by name", actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second).Value)
			p.Request(a.PID(n.Name(), "echo"), text("by PID"))
			require.Equal(t, "echo by PID", actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second).Value)
			// A PID that travels in a message reaches its actor from there.
			q := n.Probe()
			p.Send(actor.NewPID(n.Name(), q.PID.Id), p.PID)
			mine := actorstest.Expect[*actor.PID](q, 10*time.Second)
			q.Send(mine, text("back"))
			require.Equal(t, "back", actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second).Value)
		}
	})
}

// P-10: a call ends by its answer, its time, or the end of the node; late
// answers are nobody's.
func TestP10Calls(t *testing.T) {
	conformance(t, allPolicies, false, func(t *testing.T, w *world) {
		a, b := w.n[1], w.n[4]
		got, err := maquis.Call[*wrapperspb.StringValue](t.Context(), a.Distribution, a.PID("n4", "echo"), text("x"))
		require.NoError(t, err)
		require.Equal(t, "echo x", got.Value)
		slow, err := b.System.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*wrapperspb.StringValue); ok {
				time.Sleep(2 * time.Second)
				c.Respond(text("late"))
			}
		}), "slow")
		require.NoError(t, err)
		_, err = maquis.Call[*wrapperspb.StringValue](ctxFor(t, time.Second), a.Distribution, slow, text("x"))
		require.ErrorIs(t, err, maquis.ErrUnconfirmed)
		_, err = maquis.Call[*wrapperspb.StringValue](t.Context(), a.Distribution, a.PID("n4", "nobody"), text("x"))
		require.ErrorIs(t, err, maquis.ErrDeadLetter)
		w.Pass(3 * time.Second)
		f := a.System.Root.RequestFuture(slow, text("x"), time.Minute)
		w.Pass(100 * time.Millisecond)
		b.Crash()
		began := time.Now()
		_, err = f.Result()
		require.ErrorIs(t, err, actor.ErrDeadLetter)
		require.Less(t, time.Since(began), 20*time.Second, "with the node, not with its time")
	})
}

// P-13: what has one partition key keeps its order, over broken links too, and
// nothing comes twice.
func TestP13PartitionKey(t *testing.T) {
	conformance(t, allPolicies, true, func(t *testing.T, w *world) {
		a, b := w.n[1], w.n[4]
		got := make(chan int64, 1<<12)
		to := b.System.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if m, ok := c.Message().(*wrapperspb.Int64Value); ok {
				got <- m.Value
			}
		}))
		said, last := int64(0), int64(0)
		say := func() {
			said++
			require.NoError(t, a.ForwardMessage(a.PID("n4", to.Id), wrapperspb.Int64(said), maquis.WithPartitionKey("k")))
		}
		// through says more until something that is said from now on comes.
		through := func() {
			from := said + 1
			w.Until(20*time.Second, func() error {
				say()
				for len(got) > 0 {
					v := <-got
					require.Greater(t, v, last)
					last = v
				}
				if last < from {
					return fmt.Errorf("nothing came after %d", last)
				}
				return nil
			})
		}
		for round := range 5 {
			through()
			for range 60 {
				say()
			}
			w.Reset(a, b)
			w.Reset(w.n[(5+round)%conformanceNodes], b)
		}
		through()
	})
}

// P-16: a node with another secret is refused, and says so.
func TestP16WrongSecret(t *testing.T) {
	actorstest.RunReal(t, func(t *testing.T, c *actorstest.Cluster) {
		a := c.Start("a", nil)
		b := c.Start("b", nil, maquis.WithSecret("another secret, long enough, too"))
		var je *maquis.JoinError
		require.True(t, errors.As(b.Join(ctxFor(t, 5*time.Second), a.Self().Addrs[0]), &je))
		require.Equal(t, maquis.Reason("wrong_secret"), je.Contacts[0].Reason)
		require.Equal(t, []string{"a"}, a.NodeList())
	})
}

// P-17: a slow way delays, and neither loses nor reorders.
func TestP17Delay(t *testing.T) {
	conformance(t, allPolicies, false, func(t *testing.T, w *world) {
		a, b := w.n[1], w.n[4]
		for i, x := range w.n {
			for _, y := range w.n[i+1:] {
				w.Slow(x, y, 200*time.Millisecond)
			}
		}
		p := b.Probe()
		began := time.Now()
		for i := range int64(50) {
			a.System.Root.Send(a.PID("n4", p.PID.Id), wrapperspb.Int64(i))
		}
		for i := range int64(50) {
			require.Equal(t, i, actorstest.Expect[*wrapperspb.Int64Value](p, 30*time.Second).Value)
		}
		require.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)
		w.Heal()
		w.Settle()
	})
}

// P-18: messages are dropped, doubled and delayed by their type.
func TestP18Interposition(t *testing.T) {
	conformance(t, allPolicies, false, func(t *testing.T, w *world) {
		a, b := w.n[1], w.n[4]
		p := b.Probe()
		send := func(s string) { a.System.Root.Send(a.PID("n4", p.PID.Id), text(s)) }
		verdict := maquis.Pass
		remove := w.Intercept(func(k maquis.Packet) maquis.Verdict {
			if k.From == "n1" && k.To == "n4" && strings.HasSuffix(k.Type, "StringValue") {
				return verdict
			}
			return maquis.Pass
		})
		for _, c := range []struct {
			v    maquis.Verdict
			want int
		}{{maquis.Drop, 0}, {maquis.Duplicate, 2}, {maquis.Delay(3 * time.Second), 1}, {maquis.Pass, 1}} {
			verdict = c.v
			began := time.Now()
			send("x")
			for range c.want {
				actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second)
			}
			if c.v == maquis.Delay(3*time.Second) {
				require.GreaterOrEqual(t, time.Since(began), 3*time.Second)
			}
			p.ExpectNone(5 * time.Second)
		}
		verdict = maquis.Drop
		remove()
		send("y")
		actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second)
	})
}

// P-20: a node that is killed is known to all, and the rest stays connected.
func TestP20Kill(t *testing.T) {
	conformance(t, allPolicies, true, func(t *testing.T, w *world) {
		w.n[2].Crash()
		w.n[5].Crash()
		w.Settle()
		p := w.n[1].Probe()
		for _, n := range w.Live() {
			if n != w.n[1] {
				p.Request(w.n[1].PID(n.Name(), "echo"), text("x"))
				actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second)
			}
		}
	})
}

// P-21: halves of a partition go on by themselves, and are one again after it.
func TestP21Partition(t *testing.T) {
	conformance(t, onePolicy, false, func(t *testing.T, w *world) {
		if w.kind == maquis.ClientServer {
			t.Skip("clients without their server are alone, not a half")
		}
		if w.kind == maquis.Static {
			t.Skip("a half of a fixed graph need not hang together")
		}
		w.Partition(w.n[:3], w.n[3:])
		w.Settle()
		w.Pass(10 * time.Minute)
		w.Heal()
		w.Settle()
		p := w.n[0].Probe()
		p.Request(w.n[0].PID("n6", "echo"), text("x"))
		actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second)
	})
}

// A call ends with its time, also when what it would send finds no room.
func TestCallThatFindsNoRoom(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		narrow := maquis.WithChannels(maquis.ChannelSpec{Name: "narrow", MaxQueueLen: 1, BlockTimeout: time.Minute})
		a, b := c.Start("a", boot, narrow), c.Start("b", boot, narrow)
		c.Settle()
		pid := a.PID("b", "echo")
		c.Hold(a, b)
		for range 3 { // one may be on its way, one waits, one more blocks
			go func() { _ = a.ForwardMessage(pid, text("fill"), maquis.WithChannel("narrow")) }()
		}
		c.Pass(10 * time.Millisecond)
		began := time.Now()
		_, err := maquis.Call[*wrapperspb.StringValue](ctxFor(t, 300*time.Millisecond), a.Distribution, pid, text("x"), maquis.WithChannel("narrow"))
		require.Error(t, err)
		require.Less(t, time.Since(began), 500*time.Millisecond)
		c.Release(a, b)
		c.Settle()
	})
}
