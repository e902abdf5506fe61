package channelmgr

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

func TestBodies(t *testing.T) {
	for _, size := range []int{0, 1, 160 << 10, 160<<10 + 1, 1 << 20, 3 << 20, 8<<20 + 5, 16 << 20, 40 << 20} {
		b := newBody(size)
		require.GreaterOrEqual(t, cap(b.b), size)
		require.Empty(t, b.b)
		b.release()
		require.GreaterOrEqual(t, cap(newBody(size).b), size)
	}
}

// The memory of a split message follows what has arrived, and what has arrived
// stays as it is.
func TestAssemblyGrows(t *testing.T) {
	const total = 20 << 20
	piece := make([]byte, 64<<10)
	a := &assembly{total: total, buf: newBody(min(total, 1<<20))}
	a.body = a.buf.b
	grown, last := 0, cap(a.body)
	for i := range total / len(piece) {
		for k := range piece {
			piece[k] = byte(i)
		}
		a.add(piece)
		if cap(a.body) != last {
			grown, last = grown+1, cap(a.body)
			require.LessOrEqual(t, last, 4*len(a.body)+bodySizes[len(bodySizes)-1])
		}
	}
	require.LessOrEqual(t, grown, 3)
	require.Len(t, a.body, total)
	for i := range total / len(piece) {
		require.Equal(t, len(piece), bytes.Count(a.body[i*len(piece):(i+1)*len(piece)], []byte{byte(i)}))
	}
	a.release()
	require.Nil(t, a.body)
}

// What a writer has of a large message stays as it is when the writer's link is
// gone and another takes over, or the session ends: nobody knows when that writer
// is done.
func TestBodyOfALostLink(t *testing.T) {
	for name, k := range map[string]struct {
		delivery Delivery
		after    func(ln *lane)
	}{
		"fifo, another link":     {AtMostOnce, func(ln *lane) { ln.begin(nil) }},
		"fifo, the session ends": {AtMostOnce, func(ln *lane) { ln.returnQueued(messages.ReasonDown) }},
		"acked, another link brings it": {AtLeastOnce, func(ln *lane) {
			ln.begin(nil)
			for len(ln.take(nil, writeBatch)) > 0 {
				ln.kept.landed()
			}
			ln.flows[0].Update(flow.Update{Next: 2})
			ln.kept.confirm(ln.flows, ln.queued)
		}},
		"acked, the session ends": {AtLeastOnce, func(ln *lane) { ln.returnQueued(messages.ReasonDown) }},
	} {
		t.Run(name, func(t *testing.T) {
			sec, err := handshake.NewSecurity(handshake.SecurityConfig{Mode: handshake.ModeInsecure, Cluster: "c", Node: "a"})
			require.NoError(t, err)
			r, err := New(Config{
				System: actor.NewActorSystem(), Self: overlay.Peer{Name: "a", Incarnation: 1}, Cluster: "c", Security: sec, Transport: transport.NewMemory(),
				Types: messages.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Channels: []ChannelSpec{{Name: "c", Delivery: k.delivery, Lanes: 1}},
			})
			require.NoError(t, err)
			defer r.Close()
			typ, err := messages.NewRegistry().Lookup("google.protobuf.StringValue")
			require.NoError(t, err)
			c, err := newSession(r, overlay.Peer{Name: "b", Incarnation: 2}, 1).outbound("c")
			require.NoError(t, err)
			ln := c.lanes[0]
			large := newBody(3 * frame.MaxPiece)
			large.b = large.b[:3*frame.MaxPiece]
			require.NoError(t, ln.putLarge(0, typ, &Outgoing{Target: "x"}, large))
			require.Len(t, ln.take(nil, 100), 2, "the first piece")
			k.after(ln)
			require.Len(t, large.b, 3*frame.MaxPiece, "given back to the pool")
		})
	}
}
