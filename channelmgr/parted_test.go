package channelmgr_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

// gate is a receiver whose target "gate" holds up whoever posts to it, a link's
// reader.
type gate struct {
	*node
	came, open chan struct{}
}

func (g *gate) Receive(m *channelmgr.Incoming) messages.Reason {
	if m.Target.ID == "gate" {
		close(g.came)
		<-g.open
	}
	return g.node.Receive(m)
}

// What has come on a link of a session that has ended here never comes after
// what the peer sends on a later session: be it of a channel that was not known
// when the session ended, or of flows that the peer has begun anew since.
func TestLateOnAnEndedSession(t *testing.T) {
	str := "google.protobuf.StringValue"
	text := func(channel, slot uint8, seq uint64, target, text string) []byte {
		body, err := proto.Marshal(wrapperspb.String(text))
		require.NoError(t, err)
		return data(frame.Data{Channel: channel, Slot: slot, Seq: seq, Type: str, Target: target}, body)
	}
	channel := func(id uint32, name string) []byte { return frame.AppendDefine(nil, frame.TableChannel, id, name) }
	var many []byte
	var all []string
	for i := range 10 { // a read of an idle link takes 1 KiB
		many = append(many, text(2, 1, uint64(i+1), "x", fmt.Sprint(i))...)
		all = append(all, fmt.Sprint("x:", i))
	}
	for name, k := range map[string]struct {
		late, next []byte   // what comes on the two sessions
		waits      bool     // the later for the earlier
		want       []string // what is got, in the end
	}{
		"a channel that comes late": {
			append(channel(3, "late"), text(3, 1, 1, "x", "1")...),
			append(append(frame.AppendSession(nil, frame.Session{Epoch: 1}), channel(2, "late")...),
				append(frame.AppendBegin(nil, frame.Begin{Channel: 2, Slot: 1, Base: 2, Abandoned: 1}), text(2, 1, 2, "x", "2")...)...),
			false, []string{"x:2"},
		},
		"a session that the peer begins anew": {
			many,
			append(append(frame.AppendSession(nil, frame.Session{Epoch: 2}), channel(2, "c")...), text(2, 1, 1, "x", "2")...),
			true, append(all, "x:2"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := transport.NewMemory()
			a := start(t, "a", tr, handshake.ModeInsecure)
			g := &gate{node: a, came: make(chan struct{}), open: make(chan struct{})}
			a.reg.SetReceiver(g)
			m := memberOver(t, a, tr)
			first := append(frame.AppendSession(nil, frame.Session{Epoch: 1}), channel(2, "c")...)
			_, err := m.link(handshake.Bulk, 20).Write(append(append(first, text(2, 0, 1, "gate", "")...), k.late...))
			require.NoError(t, err)
			<-g.came // the reader is at the gate, and has read the rest

			s := a.reg.Session("evil")
			ended := make(chan struct{})
			go func() { // it waits for the reader in the end, to count what came
				defer close(ended)
				a.reg.EndSession(s.Peer(), 1, messages.ReasonDown)
			}()
			require.Eventually(t, func() bool { return a.reg.Session("evil") == nil }, 10*time.Second, time.Millisecond)
			m = memberOver(t, a, tr)
			_, err = m.link(handshake.Bulk, 20).Write(k.next)
			require.NoError(t, err)
			if k.waits {
				require.Never(t, func() bool { return a.count() > 0 }, 100*time.Millisecond, time.Millisecond)
			} else {
				require.Eventually(t, func() bool { return a.count() > 0 }, 10*time.Second, time.Millisecond)
			}
			close(g.open)
			<-ended
			require.Eventually(t, func() bool { return a.count() > len(k.want) && a.reg.Stats()["links"] == 2 }, 10*time.Second, time.Millisecond)
			require.Equal(t, k.want, without(a.all(), "gate:"))
			received := 0
			for _, st := range a.reg.ChannelStats() {
				received += int(st.Received)
			}
			require.Equal(t, a.count(), received, "counted for both sessions, or for none")
		})
	}
}

// Of a life that has ended here numbers are left when no link of it is: whoever
// sends again what has come, since it was not told of its end, is not delivered
// twice, and loses nothing. Each message is counted once.
func TestFlowsOfAnEndedLife(t *testing.T) {
	tr := transport.NewMemory()
	a := start(t, "a", tr, handshake.ModeInsecure)
	body, err := proto.Marshal(wrapperspb.String("x"))
	require.NoError(t, err)
	begin := append(frame.AppendSession(nil, frame.Session{Epoch: 1}), frame.AppendDefine(nil, frame.TableChannel, 2, "c")...)
	const lives = 4
	for life := range uint64(lives) {
		m := memberOver(t, a, tr)
		out := begin
		for slot := range uint8(channelmgr.Slots) {
			first := 10*life + 1
			if life > 0 {
				first -= 3 // they were not confirmed
				out = append(out, frame.AppendBegin(nil, frame.Begin{Channel: 2, Slot: slot, Base: first})...)
			}
			for seq := first; seq <= 10*(life+1); seq++ {
				out = append(out, data(frame.Data{Channel: 2, Slot: slot, Seq: seq, Type: "google.protobuf.StringValue", Target: fmt.Sprint(slot, "/", seq)}, body)...)
			}
		}
		_, err := m.link(handshake.Bulk, 20).Write(out)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return a.count() == 10*int(life+1)*channelmgr.Slots }, 10*time.Second, time.Millisecond)
		s := a.reg.Session("evil")
		a.reg.EndSession(s.Peer(), 1, messages.ReasonDown)
		require.Eventually(t, func() bool {
			asTheyWere, packed := a.reg.Parted()
			return asTheyWere == 0 && packed > 0 && packed <= 4*channelmgr.Slots
		}, 10*time.Second, time.Millisecond)
	}
	seen := make(map[string]bool)
	for _, e := range a.all() {
		require.False(t, seen[e], "%s came twice", e)
		seen[e] = true
	}
	for _, st := range a.reg.ChannelStats() {
		if st.Channel == "c" {
			require.EqualValues(t, 10*lives*channelmgr.Slots, st.Received-st.Duplicates)
			require.EqualValues(t, 3*(lives-1)*channelmgr.Slots, st.Duplicates)
		}
	}
}

func without(list []string, s string) (rest []string) {
	for _, e := range list {
		if e != s {
			rest = append(rest, e)
		}
	}
	return rest
}
