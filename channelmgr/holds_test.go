package channelmgr_test

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

// An overlay that releases a session while a message of the peer's is on its way to it
// still hears how the session ends: with that message the peer may have become a
// neighbor. When it has taken all and releases it then, it hears no more.
func TestADisconnectThatCrosses(t *testing.T) {
	for name, crosses := range map[string]bool{"crosses": true, "does not": false} {
		t.Run(name, func(t *testing.T) {
			m := transport.NewMemory()
			a, b := start(t, "a", m, handshake.ModeInsecure), start(t, "b", m, handshake.ModeInsecure)
			got, goOn := make(chan any, 16), make(chan bool, 16)
			host := a.system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
				switch m := c.Message().(type) {
				case *messages.OverlayInbound:
					a.reg.OverlayDone(m)
					got <- m
					<-goOn // it is at work on that
				case *messages.LinkUp, *messages.LinkDown:
					got <- m
				}
			}))
			defer func() { _ = a.system.Root.StopFuture(host).Wait() }()
			a.reg.BindOverlay("o", host)
			b.connect(a)
			next := func() any {
				select {
				case m := <-got:
					return m
				case <-time.After(30 * time.Second):
					require.Fail(t, "the host hears nothing more")
					return nil
				}
			}
			send := func(n uint64) {
				require.NoError(t, b.reg.SendOverlay("o", a.reg.Self(), &messages.HyparJoin{Request: n}))
				require.Eventually(t, func() bool { return a.reg.Passed() == n }, 10*time.Second, time.Millisecond)
			}
			send(1)
			require.IsType(t, &messages.LinkUp{}, next())
			require.IsType(t, &messages.OverlayInbound{}, next())
			if crosses {
				send(2)
			}
			self := b.reg.Self()
			release := func() {
				a.system.Root.Send(managerOf(a), &messages.Disconnect{
					Owner: "o", Peer: &messages.NodeRef{Name: self.Name, Incarnation: uint64(self.Incarnation)}, Seen: a.reg.OverlaySeen("o", self),
				})
			}
			release()
			goOn <- true
			if crosses {
				require.IsType(t, &messages.OverlayInbound{}, next())
				goOn <- true
				require.IsType(t, &messages.LinkUp{}, next())
				require.True(t, a.reg.Held(self))
				b.reg.Close()
				require.IsType(t, &messages.LinkDown{}, next())
			}
			require.Eventually(t, func() bool { return !a.reg.Held(self) }, 10*time.Second, time.Millisecond)
		})
	}
}
