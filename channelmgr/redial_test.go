package channelmgr_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
