package peerservice

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// hears waits until a node has heard exactly so many broadcasts of an origin, in
// their order, each once.
func (c *cluster) hears(n *node, origin string, want ...string) {
	c.t.Helper()
	c.until(20*time.Second, func() string {
		n.mu.Lock()
		defer n.mu.Unlock()
		var got []string
		for _, h := range n.heard {
			if o, text, _ := strings.Cut(h, " "); o == origin {
				got = append(got, text)
			}
		}
		if !slices.Equal(got, want) {
			return fmt.Sprintf("%s heard %d broadcasts of %s, not %d: %.200q", n.name, len(got), origin, len(want), got)
		}
		return ""
	})
}

// Over each overlay every node hears every broadcast of every other and its own
// once, in the order of each origin, large ones too; and who was cut off hears
// what it missed.
func TestBroadcast(t *testing.T) {
	const count = 10
	for kind, spec := range specs(count) {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				var list []*node
				for i := range count {
					list = append(list, c.start(fmt.Sprint("n", i), []string{addr("n0")}, func(cfg *Config) { cfg.Overlays = []OverlaySpec{spec(i)} }))
				}
				c.knows(30*time.Second, list...)
				var want []string
				say := func(from *node, text string) { require.NoError(t, from.svc.Broadcast(t.Context(), "", []byte(text))) }
				for round := range 20 {
					text := fmt.Sprint(round)
					if round == 7 {
						text = strings.Repeat("x", 200_000)
					}
					want = append(want, text)
					for _, from := range list {
						say(from, text)
					}
				}
				for _, n := range list {
					for _, from := range list {
						c.hears(n, from.name, want...)
					}
				}
				for i := 1; i < count-1; i++ {
					c.faults.Cut(list[i].name, list[count-1].name)
				}
				c.faults.Cut(list[0].name, list[count-1].name)
				c.pass(15 * time.Second)
				say(list[0], "meanwhile")
				c.pass(5 * time.Second)
				c.faults.Heal()
				for _, n := range list {
					c.hears(n, "n0", append(slices.Clone(want), "meanwhile")...)
				}
			})
		})
	}
}

// A broadcast that is too large, or for which there is no room in time, is an
// error.
func TestBroadcastBounds(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		a := c.start("a", nil)
		require.ErrorIs(t, a.svc.Broadcast(t.Context(), "", make([]byte, MaxBroadcast+1)), ErrBroadcastTooLarge)
		require.NoError(t, a.svc.Broadcast(t.Context(), "", make([]byte, MaxBroadcast)))
		c.until(time.Second, func() string {
			a.mu.Lock()
			defer a.mu.Unlock()
			if len(a.heard) != 1 || len(a.heard[0]) != MaxBroadcast+2 {
				return "it did not come back whole"
			}
			return ""
		})
	})
}

// An overlay's host that fails restarts with its neighbors, and its broadcasts
// do not look like those before.
func TestBroadcastAfterARestartOfTheHost(t *testing.T) {
	for _, kind := range []string{FullMesh, HyParView, Scamp} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				var list []*node
				for i := range 6 {
					list = append(list, c.start(fmt.Sprint("n", i), []string{addr("n0")}, func(cfg *Config) { cfg.Overlays = []OverlaySpec{{Kind: kind}} }))
				}
				c.knows(30*time.Second, list...)
				require.NoError(t, list[2].svc.Broadcast(t.Context(), "", []byte("one")))
				for _, n := range list {
					c.hears(n, "n2", "one")
				}
				list[2].strike("stack-main", "overlay.MemberDown")
				list[2].svc.tellStacks(false, overlay.MemberDown{Peer: overlay.Peer{Name: "nobody", Incarnation: 1}})
				c.until(5*time.Second, func() string {
					if list[2].strikes() == 0 {
						return "it did not fail"
					}
					return ""
				})
				c.pass(5 * time.Second)
				c.knows(5*time.Second, list...)
				require.NoError(t, list[2].svc.Broadcast(t.Context(), "", []byte("two")))
				for _, n := range list {
					c.hears(n, "n2", "one", "two")
				}
			})
		})
	}
}

// A broadcast in the name of a life of a node that the roster does not know is
// handed on by nobody who has heard that node, and keeps nothing back of what the
// node says, before and after.
func TestBroadcastOfAMadeUpLife(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		var list []*node
		for i := range 3 {
			list = append(list, c.start(fmt.Sprint("n", i), []string{addr("n0")}))
		}
		c.knows(30*time.Second, list...)
		say := func(text string) { require.NoError(t, list[1].svc.Broadcast(t.Context(), "", []byte(text))) }
		forge := func(at *node, later overlay.Incarnation) {
			payload, err := proto.Marshal(&messages.BroadcastPart{Seq: 1, First: true, Last: true, Data: []byte("made up")})
			require.NoError(t, err)
			self := list[1].svc.Self().Peer
			at.svc.notified("main", overlay.Delivered{Subject: castSubject, Payload: payload, From: self, ID: overlay.MessageID{Origin: self.Name, Incarnation: self.Incarnation + later}})
		}
		say("one")
		c.hears(list[0], "n1", "one")
		c.hears(list[2], "n1", "one")
		forge(list[0], 1)
		forge(list[2], ^overlay.Incarnation(0)) // an earlier one
		say("two")
		c.hears(list[0], "n1", "one", "two")
		c.hears(list[2], "n1", "one", "two")
		c.pass(2 * castHold)
		say("three")
		for _, n := range []*node{list[0], list[2]} {
			c.hears(n, "n1", "one", "two", "three")
			require.EqualValues(t, 1, n.svc.Stats()["broadcast_past_life"])
		}
	})
}
