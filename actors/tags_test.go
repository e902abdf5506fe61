package actors_test

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// PIDs that carry an alias of a node reach it from everywhere, and an actor
// that was made under an alias is answered.
func TestAliases(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, append(opts, maquis.WithAliases("10.0.0.7:8080")), "a")
		a := n[0]
		b := startNode(t, "b", append(opts, maquis.WithSeeds(a.addr()))...)
		require.NoError(t, a.WaitForMembers(ctxFor(t, 20*time.Second), 2))
		require.NoError(t, b.WaitForMembers(ctxFor(t, 20*time.Second), 2))
		_, err := a.system.Root.SpawnNamed(echo(), "echo")
		require.NoError(t, err)
		ask := func(from *node, addr string) error {
			res, err := from.system.Root.RequestFuture(actor.NewPID(addr, "echo"), wrapperspb.String("hi"), 5*time.Second).Result()
			if err == nil {
				require.Equal(t, "echo hi", res.(*wrapperspb.StringValue).Value)
			}
			return err
		}
		require.NoError(t, ask(b, "10.0.0.7:8080"))
		require.NoError(t, ask(a, "10.0.0.7:8080"), "on the node itself")
		require.ErrorIs(t, ask(b, "10.0.0.8:8080"), actor.ErrDeadLetter)
		require.NoError(t, a.AddAliases("old:9", "10.0.0.7:8080", "[::]:7"))
		require.NoError(t, ask(a, "old:9"))
		require.Eventually(t, func() bool {
			m, _ := b.Member("a")
			return m.Tags["maquis.aliases"] == "10.0.0.7:8080,old:9"
		}, 10*time.Second, time.Millisecond)
		require.NoError(t, ask(b, "old:9"))
		require.NoError(t, ask(a, "[::]:7"))
		require.ErrorIs(t, ask(b, "[::]:7"), actor.ErrDeadLetter)

		// b's answer to a sender that a knows under its alias.
		future := actor.NewFuture(a.system, 5*time.Second)
		_, err = b.system.Root.SpawnNamed(echo(), "echo")
		require.NoError(t, err)
		a.system.Root.RequestWithCustomSender(a.PID("b", "echo"), wrapperspb.String("back"), actor.NewPID("old:9", future.PID().Id))
		res, err := future.Result()
		require.NoError(t, err)
		require.Equal(t, "echo back", res.(*wrapperspb.StringValue).Value)

		for _, bad := range []string{"", "host", "host:", ":1", "a,b:1"} {
			require.ErrorContains(t, a.AddAliases(bad), "use host:port", bad)
		}
		require.Equal(t, "a", a.Name())
		require.Equal(t, []string{a.addr(), "10.0.0.7:8080", "old:9"}, b.Addrs("a"))
		require.Nil(t, b.Addrs("nobody"))
		m, ok := b.Member("a")
		require.True(t, ok)
		require.Equal(t, a.Address(), m.Address())
	})
}

// The application's tags and the reserved ones do not replace each other.
func TestTags(t *testing.T) {
	a := startNode(t, "a", maquis.WithTags(map[string]string{"zone": "eu"}), maquis.WithAliases("x:1"))
	require.Equal(t, map[string]string{"zone": "eu", "maquis.aliases": "x:1"}, a.Self().Tags)
	require.NoError(t, a.SetTag("maquis.mine", "1"))
	require.NoError(t, a.SetTags(map[string]string{"zone": "us"}))
	require.NoError(t, a.SetTag("rack", "7"))
	require.Equal(t, map[string]string{"zone": "us", "rack": "7", "maquis.aliases": "x:1", "maquis.mine": "1"}, a.Self().Tags)
	require.NoError(t, a.SetTag("maquis.mine", ""))
	require.ErrorContains(t, a.SetTags(map[string]string{"maquis.mine": "2"}), "reserved")
	require.ErrorContains(t, a.SetTag("k", string(make([]byte, 2000))), "at most")
	require.NoError(t, a.SetTag("rack", ""))
	require.Equal(t, map[string]string{"zone": "us", "maquis.aliases": "x:1"}, a.Self().Tags)
}

// Only what is allowed gets to the event stream of another node.
func TestAllowEvents(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b")
		got := make(chan string, 8)
		n[1].system.EventStream.Subscribe(func(e any) {
			if s, ok := e.(*wrapperspb.StringValue); ok {
				got <- s.Value
			}
		})
		stream := actor.NewPID(n[1].Address(), "eventstream")
		n[0].system.Root.Send(stream, wrapperspb.String("refused"))
		require.Eventually(t, func() bool { return n[1].Stats()["forbidden"] == 1 }, 5*time.Second, time.Millisecond)
		n[1].AllowEvents("google.protobuf.StringValue")
		n[0].system.Root.Send(stream, wrapperspb.Int32(1))
		n[0].system.Root.Send(stream, wrapperspb.String("allowed"))
		require.Equal(t, "allowed", <-got)
		require.Eventually(t, func() bool { return n[1].Stats()["forbidden"] == 2 }, 5*time.Second, time.Millisecond)
	})
}
