package actors_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// ForwardMessage, Deliver and Call heed what a PID is bound to; what they are
// given goes before it.
func TestVerbsHeedABoundPID(t *testing.T) {
	opts := actorstest.WithNodes(
		maquis.WithChannels(maquis.ChannelSpec{Name: "bulk"}, maquis.ChannelSpec{Name: "named"}, maquis.ChannelSpec{Name: "urgent"}),
		maquis.WithRoutingRules(maquis.RoutingRule{Urgency: []maquis.Priority{maquis.High}, Channel: "urgent"}))
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b := c.Start("a", nil), c.Start("b", nil)
		c.Settle()
		_, err := b.System.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
			if m, ok := c.Message().(*wrapperspb.StringValue); ok && m.Value == "?" {
				c.Respond(wrapperspb.Int64(1))
			}
		}), "x")
		require.NoError(t, err)
		var at tap
		c.Intercept(at.see)
		ctx := context.Background()
		verbs := map[string]func(pid *actor.PID, opts ...maquis.SendOption) error{
			"ForwardMessage": func(pid *actor.PID, opts ...maquis.SendOption) error {
				return a.ForwardMessage(pid, text("x"), opts...)
			},
			"Deliver": func(pid *actor.PID, opts ...maquis.SendOption) error {
				return a.Deliver(ctx, pid, text("x"), opts...)
			},
			"Call": func(pid *actor.PID, opts ...maquis.SendOption) error {
				_, err := maquis.Call[*wrapperspb.Int64Value](ctx, a.Distribution, pid, text("?"), opts...)
				return err
			},
		}
		for name, verb := range verbs {
			for _, test := range []struct {
				bound []maquis.FlowOption
				given []maquis.SendOption
				want  string
			}{
				{nil, nil, "data"},
				{[]maquis.FlowOption{maquis.WithChannel("bulk")}, nil, "bulk"},
				{[]maquis.FlowOption{maquis.WithChannel("bulk")}, []maquis.SendOption{maquis.WithChannel("named")}, "named"},
				{[]maquis.FlowOption{maquis.WithUrgency(maquis.High)}, nil, "urgent"},
				{[]maquis.FlowOption{maquis.WithUrgency(maquis.High)}, []maquis.SendOption{maquis.WithUrgency(maquis.Medium)}, "data"},
			} {
				pid := a.Bind(actor.NewPID("b", "x"), test.bound...)
				require.NoError(t, verb(pid, test.given...), name)
				c.Pass(time.Second)
				at.mu.Lock()
				require.Equal(t, test.want, at.on["google.protobuf.StringValue"], "%s with %d bound and %d given options", name, len(test.bound), len(test.given))
				clear(at.on)
				at.mu.Unlock()
			}
		}
		again := a.Bind(a.Bind(actor.NewPID("b", "x"), maquis.WithChannel("bulk")), maquis.WithAck())
		require.NoError(t, a.ForwardMessage(again, text("x")))
		c.Pass(time.Second)
		at.wait(t, "google.protobuf.StringValue", "bulk")

		// A PID that another node of this program has used is ours all the same.
		foreign := actor.NewPID("b", "x")
		b.System.Root.Send(foreign, text("x"))
		require.NoError(t, a.ForwardMessage(foreign, text("x")))

		// How long it may take.
		c.Cut(a, b)
		start := time.Now()
		pid := a.Bind(actor.NewPID("b", "x"), maquis.WithTimeout(100*time.Millisecond))
		require.ErrorIs(t, a.Deliver(ctx, pid, text("x")), maquis.ErrUnconfirmed)
		_, err = maquis.Call[*wrapperspb.Int64Value](ctx, a.Distribution, pid, text("?"))
		require.ErrorIs(t, err, maquis.ErrUnconfirmed)
		require.Equal(t, 200*time.Millisecond, time.Since(start))
		require.ErrorIs(t, a.Deliver(ctx, pid, text("x"), maquis.WithTimeout(time.Second)), maquis.ErrUnconfirmed)
		require.Equal(t, 1200*time.Millisecond, time.Since(start))
	}, opts)
}

// What is forwarded to a PID that is bound to WithAck outlives links.
func TestForwardMessageToAPIDBoundToAck(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b := c.Start("a", nil), c.Start("b", nil)
		c.Settle()
		var got journal
		got.spawn(t, b, "log")
		pid := a.Bind(actor.NewPID("b", "log"), maquis.WithAck())
		var want []string
		for i := range 200 {
			want = append(want, strconv.Itoa(i))
			require.NoError(t, a.ForwardMessage(pid, text(want[i])))
			if i%10 == 9 {
				c.Reset(a, b) // with what is on its way
				c.Pass(50 * time.Millisecond)
			}
		}
		c.Until(time.Minute, func() error {
			if n := len(got.all()); n < len(want) {
				return fmt.Errorf("%d of %d came", n, len(want))
			}
			return nil
		})
		require.Equal(t, want, got.all())
	})
}
