package actors_test

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// Other nodes cannot address the runtime, guardians or the event stream, nor
// send system messages as user messages; the node carries on.
func TestForbidden(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b")
		_, err := n[1].system.Root.SpawnNamed(echo(), "echo")
		require.NoError(t, err)
		targets := []string{"maquis", "maquis/roster", "maquis/channels", "guardian$1", "eventstream", "deadletter"}
		for _, target := range targets {
			_, err := n[0].system.Root.RequestFuture(n[0].PID("b", target), wrapperspb.String("x"), 5*time.Second).Result()
			require.ErrorIs(t, err, actor.ErrDeadLetter, target)
			n[0].system.Root.Stop(n[0].PID("b", target))
		}
		who := &actor.PID{Id: "echo"}
		for _, m := range []any{&actor.Stop{}, &actor.Watch{Watcher: who}, &actor.Unwatch{Watcher: who}, &actor.Terminated{Who: who}} {
			_ = n[0].ForwardMessage(n[0].PID("b", "echo"), m) // as a user message
		}
		require.Eventually(t, func() bool { return n[1].Stats()["forbidden"] >= uint64(2*len(targets)+4) }, 5*time.Second, time.Millisecond)
		res, err := maquis.Call[*wrapperspb.StringValue](ctxFor(t, 5*time.Second), n[0].Distribution, n[0].PID("b", "echo"), wrapperspb.String("alive"))
		require.NoError(t, err)
		require.Equal(t, "echo alive", res.Value)
	})
}

// Every system message that may travel, against every kind of local process:
// none panics, none gets through where it does no good.
func TestSystemMessages(t *testing.T) {
	overTransports(t, func(t *testing.T, opts []maquis.Option) {
		n := cluster(t, opts, "a", "b")
		a, b := n[0], n[1]
		future := actor.NewFuture(b.system, time.Minute)
		_, err := b.system.Root.SpawnNamed(echo(), "echo")
		require.NoError(t, err)
		var l logActor
		watcher := a.system.Root.Spawn(l.props(nil))
		for _, id := range []string{"echo", future.PID().Id, "nobody", "eventstream", "guardian$1"} {
			pid := a.PID("b", id)
			send := func(m any) { sendSystem(a, pid, m) }
			send(&actor.Terminated{Who: watcher, Why: actor.TerminatedReason_Stopped}) // forged: nobody watches
			send(&actor.Unwatch{Watcher: watcher})
			send(&actor.Watch{Watcher: watcher})
			send(&actor.Restart{})
			send(&actor.SuspendMailbox{})
		}
		_, err = maquis.Call[*wrapperspb.StringValue](ctxFor(t, 5*time.Second), a.Distribution, a.PID("b", "echo"), wrapperspb.String("alive"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, a.Stats()["system_refused"], uint64(10))
		sendSystem(a, a.PID("b", "echo"), &actor.Stop{})
		require.Eventually(t, func() bool {
			for _, e := range l.terminated() {
				if e.Who.Id == "echo" {
					return true
				}
			}
			return false
		}, 5*time.Second, time.Millisecond)
		future.PID()
		require.NoError(t, b.ForwardMessage(future.PID(), wrapperspb.String("done")))
		require.NoError(t, future.Wait())
	})
}

// sendSystem sends a system message as protoactor does.
func sendSystem(n *node, pid *actor.PID, m any) {
	proc, _ := n.system.ProcessRegistry.Get(pid)
	proc.SendSystemMessage(pid, m)
}
