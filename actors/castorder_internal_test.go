package actors

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr/causal"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// What a broadcast comes after and what never comes is waited for for a bounded
// time, and counted; what cannot be read is no broadcast; of a channel that is not
// known nothing is kept.
func TestCastOrderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
		d, err := Start(context.Background(), system, WithProfile("test"), WithName("a"), WithInsecure(), WithTransport(transport.NewMemory()),
			WithLogger(slog.New(slog.DiscardHandler)), WithChannels(ChannelSpec{Name: "causal", Delivery: AtLeastOnce, Ordering: Causal}))
		require.NoError(t, err)
		defer func() {
			require.NoError(t, d.Stop(context.Background()))
			system.Shutdown()
			time.Sleep(time.Minute) // an actor system's throttles end by themselves
		}()
		var mu sync.Mutex
		var got []string
		pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if m, ok := c.Message().(*wrapperspb.StringValue); ok {
				mu.Lock()
				got = append(got, m.Value)
				mu.Unlock()
			}
		}))
		_, err = d.SubscribeBroadcast("causal", pid)
		require.NoError(t, err)
		heard := func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(got)
		}
		arrive := func(channel string, from uint64, text string, order []byte) {
			body, err := proto.Marshal(wrapperspb.String(text))
			require.NoError(t, err)
			data, err := proto.Marshal(&messages.Broadcast{Channel: channel, Type: "google.protobuf.StringValue", Body: body, Order: order})
			require.NoError(t, err)
			d.broadcast(overlay.Peer{Name: "x", Incarnation: overlay.Incarnation(from)}, data)
		}
		stamp := func(count uint64, marks ...causal.Mark) []byte {
			return causal.AppendStamp(nil, causal.Stamp{Count: count, After: marks})
		}
		time.Sleep(2 * time.Minute) // it is new no more

		arrive("causal", 1, "answer", stamp(1, causal.Mark{Origin: 2, Count: 1}))
		time.Sleep(time.Second)
		require.Empty(t, heard())
		arrive("causal", 2, "question", stamp(1))
		require.Equal(t, []string{"question", "answer"}, heard())

		arrive("causal", 1, "answer to nothing", stamp(2, causal.Mark{Origin: 2, Count: 2}))
		time.Sleep(causal.HoldFor - time.Second)
		require.Len(t, heard(), 2)
		time.Sleep(2 * time.Second)
		require.Equal(t, "answer to nothing", heard()[2])
		arrive("causal", 2, "late", stamp(2))
		require.Equal(t, "late", heard()[3])

		arrive("causal", 2, "twice", stamp(2))
		arrive("causal", 2, "unreadable", []byte{0})
		arrive("nowhere", 2, "to nobody", stamp(3))
		require.Len(t, heard(), 4)
		_, kept := d.castOrders.Load("nowhere")
		require.False(t, kept)
		stats := d.Stats()
		for name, want := range map[string]uint64{"causal_waited": 2, "causal_given_up": 1, "causal_late": 1, "dropped": 1, "malformed": 1} {
			require.Equal(t, want, stats["broadcast_"+name], name)
		}
	})
}
