package peerservice

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
)

// say sends a numbered message; counted checks that those of an origin came in
// their order and returns how many.
func say(t *testing.T, from *node, to string, k int) {
	t.Helper()
	s, why := from.svc.Session(to)
	require.Empty(t, why)
	require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String(fmt.Sprint(from.name, " ", k))}))
}

func counted(t *testing.T, to *node, from string) (n int) {
	t.Helper()
	to.mu.Lock()
	defer to.mu.Unlock()
	last := -1
	for _, g := range to.got {
		if w, text, _ := strings.Cut(g, " "); w == from {
			var k int
			_, err := fmt.Sscan(text, &k)
			require.NoError(t, err)
			require.Greater(t, k, last, "out of turn, or twice")
			last = k
			n++
		}
	}
	return n
}

// A and B cannot reach each other, both reach C: traffic goes round, in both
// directions, and nobody is declared down. When the cut heals it goes straight
// again. (Faults R9 and R10.)
func TestPartialPartitionIsRoutedAround(t *testing.T) {
	for _, kind := range []string{FullMesh, HyParView} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				var list []*node
				for i, name := range []string{"a", "b", "c", "d"} {
					var seeds []string
					if i > 0 {
						seeds = []string{addr("a")}
					}
					list = append(list, c.start(name, seeds, func(cfg *Config) { cfg.Overlays = []OverlaySpec{{Kind: kind}} }))
				}
				c.knows(30*time.Second, list...)
				a, b := list[0], list[1]
				say(t, a, "b", 0)
				c.until(5*time.Second, func() string {
					if counted(t, b, "a") < 1 {
						return "nothing came"
					}
					return ""
				})
				c.faults.Cut("a", "b")
				round := time.Duration(0)   // when it went round
				for k := 1; k <= 600; k++ { // a minute
					say(t, a, "b", k)
					say(t, b, "a", k)
					c.pass(100 * time.Millisecond)
					if before := k * 100; round == 0 && counted(t, b, "a") > 1 {
						round = time.Duration(before) * time.Millisecond
					}
				}
				t.Logf("went round after %v", round)
				if kind == FullMesh { // on partial views a way may have to be searched on a tree that has just broken
					require.Less(t, round, 3*time.Second, "the silence is noticed after two; no dial is waited for, which takes one")
				}
				c.until(20*time.Second, func() string {
					// What was written to the link that fell silent is lost.
					if n, m := counted(t, b, "a"), counted(t, a, "b"); n < 500 || m < 500 {
						return fmt.Sprintf("b has %d of 601, a %d of 600", n, m)
					}
					return ""
				})
				for _, n := range list {
					require.Empty(t, n.told("down", "left"), n.name)
				}
				c.faults.Heal()
				c.pass(15 * time.Second)
				n := counted(t, b, "a")
				for k := 1000; k < 1050; k++ {
					say(t, a, "b", k)
					c.pass(100 * time.Millisecond)
				}
				c.until(10*time.Second, func() string {
					if got := counted(t, b, "a") - n; got != 50 {
						return fmt.Sprintf("%d of 50 came after the heal", got)
					}
					return ""
				})
				for _, n := range list {
					require.Empty(t, n.told("down", "left"), n.name)
				}
			})
		})
	}
}

// Under policy adaptive a hot flow gets a link of its own; nothing is lost and
// nothing changes its turn as it moves off the relays.
func TestShortcut(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.routing = channelmgr.Adaptive
		const count = 9
		var list []*node
		for i := range count {
			name := func(i int) string { return fmt.Sprint("n", (i+count)%count) }
			list = append(list, c.start(name(i), []string{addr("n0")}, func(cfg *Config) {
				cfg.Overlays = []OverlaySpec{{Kind: Static, Neighbors: []string{name(i - 1), name(i + 1)}}}
			}))
		}
		c.knows(30*time.Second, list...)
		c.pass(10 * time.Second)
		from, to := list[2], list[6]
		s, _ := from.svc.Session("n6")
		require.False(t, s.Direct())
		relayed := func() (n uint64) {
			for _, x := range list {
				n += x.reg.Stats()["relayed"]
			}
			return n
		}
		k := 0
		send := func(text string) {
			require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String(fmt.Sprint("n2 ", k, text))}))
			k++
		}
		require.NoError(t, to.svc.Broadcast(t.Context(), "", nil)) // shows the way
		c.pass(time.Second)
		for range 20 { // seldom: over relays
			send("")
			c.pass(200 * time.Millisecond)
		}
		require.False(t, s.Direct())
		require.NotZero(t, relayed())
		for began := time.Now(); !s.Direct(); { // much
			require.Less(t, time.Since(began), 2*time.Second)
			for range 20 {
				send(strings.Repeat(" ", 1000))
			}
			c.pass(10 * time.Millisecond)
		}
		for range 100 {
			send("")
			c.pass(10 * time.Millisecond)
		}
		c.pass(time.Second)
		require.Equal(t, k, counted(t, to, "n2"), "nothing is lost on the way from one carrier to the other")
		c.pass(50 * time.Second)
		require.False(t, s.Direct(), "a shortcut that idles is closed")
		send("")
		c.until(5*time.Second, func() string {
			if counted(t, to, "n2") != k {
				return "it did not come over relays again"
			}
			return ""
		})
	})
}
