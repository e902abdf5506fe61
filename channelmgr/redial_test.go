package channelmgr_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

// A dial that is refused because the peer dials too, or takes a dead link for
// alive, is repeated, for as long as a handshake may take.
func TestARefusedTwinIsDialedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		refusals int64
		timeout  time.Duration // of a handshake
		up, down []string
	}{
		"twice":  {2, time.Hour, []string{"b"}, nil},
		"always": {1 << 30, 500 * time.Millisecond, nil, []string{"b timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := transport.NewMemory()
			timing := func(cfg *channelmgr.Config) { cfg.Timing.HandshakeTimeout = c.timeout }
			a, b := start(t, "a", m, handshake.ModeInsecure, timing), start(t, "b", m, handshake.ModeInsecure, timing)
			var dials atomic.Int64
			b.reg.SetAdmission(func(channelmgr.Newcomer) (messages.Reason, uint64) {
				if dials.Add(1) <= c.refusals {
					return messages.ReasonDuplicate, 0
				}
				return "", 0
			})
			self := b.reg.Self()
			a.system.Root.Send(managerOf(a), &messages.Connect{Owner: "test", Peer: &messages.NodeRef{Name: self.Name, Incarnation: uint64(self.Incarnation), Addr: self.Addr}})
			require.Eventually(t, func() bool {
				a.mu.Lock()
				defer a.mu.Unlock()
				return slices.Equal(a.up, c.up) && slices.Equal(a.down, c.down)
			}, 30*time.Second, time.Millisecond)
			require.Less(t, dials.Load(), int64(12), "with pauses that grow")
		})
	}
}

// A data link that ends while it is made leaves its place to another: what is sent
// then arrives.
func TestALinkThatEndsAtOnce(t *testing.T) {
	run := func(name string, f func(s *channelmgr.Session, send, arrived func())) {
		t.Run(name, func(t *testing.T) {
			m := transport.NewMemory()
			a, b := start(t, "a", m, handshake.ModeInsecure), start(t, "b", m, handshake.ModeInsecure)
			s, sent := a.connect(b), 0
			send := func() {
				sent++
				require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("m")}))
			}
			arrived := func() {
				require.Eventually(t, func() bool { return b.count() == sent }, 20*time.Second, time.Millisecond)
			}
			f(s, send, arrived)
			arrived()
		})
	}
	run("before it is given its pipe", func(s *channelmgr.Session, send, arrived func()) {
		send()
		arrived()
		s.FailUnattached(0)
		send()
	})
	run("before its dial is reported", func(s *channelmgr.Session, send, _ func()) { s.DialFor(0, send) })
}
