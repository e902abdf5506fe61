package channelmgr

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// BenchmarkTick is what a tick takes, twice a heartbeat, of a node that has sent to
// so many others, and has no link to them any more.
func BenchmarkTick(b *testing.B) {
	for _, count := range []int{10, 100} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			sec, err := handshake.NewSecurity(handshake.SecurityConfig{Mode: handshake.ModeInsecure, Cluster: "c", Node: "a"})
			require.NoError(b, err)
			r, err := New(Config{
				System: actor.NewActorSystem(), Self: overlay.Peer{Name: "a", Incarnation: 1}, Cluster: "c", Security: sec, Transport: transport.NewMemory(),
				Types: messages.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(b, err)
			defer r.Close()
			r.SetOnChannel(func(ChannelChange) {})
			for i := range count {
				s := r.Ensure(overlay.Peer{Name: fmt.Sprint("n", i), Incarnation: 2}, 1)
				require.NoError(b, s.Send(&Outgoing{Target: "x", Msg: wrapperspb.String("m")}))
				for _, p := range s.allPipes() {
					for _, ln := range p.lanes {
						ln.q.drop()
					}
				}
				c, err := s.inbound(DataChannel)
				require.NoError(b, err)
				c.flow(1)
			}
			m := &manager{r: r, lastTick: time.Hour} // nothing is late
			b.ReportAllocs()
			for b.Loop() {
				m.onTick()
			}
		})
	}
}
