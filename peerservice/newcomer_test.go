package peerservice

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// numbers are those of an origin's broadcasts that a node heard.
func (n *node) numbers(t *testing.T, origin string) (list []int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.heard {
		if o, text, _ := strings.Cut(h, " "); o == origin {
			var k int
			_, err := fmt.Sscan(text, &k)
			require.NoError(t, err)
			list = append(list, k)
		}
	}
	return list
}

// A node on a new life, under its old name, hears nothing that was broadcast
// before it came, however its neighbors change then, and all that was after it has
// joined: of who broadcasts all the time, and of who did so just before and does
// not any more.
func TestNewcomerHearsNothingFromBefore(t *testing.T) {
	for _, kind := range []string{FullMesh, HyParView} {
		for _, away := range []time.Duration{500 * time.Millisecond, 8 * time.Second} {
			t.Run(fmt.Sprint(kind, " ", away), func(t *testing.T) {
				bubble(t, func(t *testing.T, c *cluster) {
					const count = 10
					over := func(cfg *Config) { cfg.Overlays = []OverlaySpec{{Kind: kind}} }
					var list []*node
					for i := range count {
						list = append(list, c.start(fmt.Sprint("n", i), []string{addr("n0")}, over))
					}
					c.knows(30*time.Second, list...)
					k := 0
					say := func(froms ...int) {
						for _, i := range froms {
							require.NoError(t, list[i].svc.Broadcast(t.Context(), "", fmt.Append(nil, k)))
						}
						k++
					}
					steady := func(d time.Duration) {
						for range d / (50 * time.Millisecond) {
							c.pass(50 * time.Millisecond)
							say(0, 3)
						}
					}
					steady(5 * time.Second)
					list[5].crash()
					steady(away)
					say(0, 1, 2, 3, 4) // some say no more
					c.pass(time.Millisecond)
					came := k
					list[5] = c.start("n5", []string{addr("n0"), addr("n1")}, over)
					joined := 0
					for joined == 0 {
						steady(50 * time.Millisecond)
						if len(list[5].svc.View().Members) == count && list[0].svc.knowsLife(list[5]) && list[3].svc.knowsLife(list[5]) {
							joined = k
						}
						require.Less(t, k, came+600)
					}
					for _, i := range []int{6, 7, 8, 9} { // its neighbors change
						steady(4 * time.Second)
						list[i].crash()
					}
					steady(10 * time.Second)
					c.pass(15 * time.Second)
					for _, origin := range []string{"n0", "n1", "n2", "n3", "n4"} {
						got := list[5].numbers(t, origin)
						for i, n := range got {
							require.GreaterOrEqual(t, n, came, "of %s: %d of %d are from before it came", origin, before(got, came), len(got))
							if i > 0 {
								require.Greater(t, n, got[i-1], origin)
							}
						}
						if origin == "n0" || origin == "n3" {
							require.GreaterOrEqual(t, len(got)-before(got, joined), k-joined, "of %s: lacks some of after it had joined", origin)
						}
					}
				})
			})
		}
	}
}

func before(list []int, k int) (n int) {
	for _, x := range list {
		if x < k {
			n++
		}
	}
	return n
}

// knowsLife reports whether a node takes another's life of now for a member.
func (s *Service) knowsLife(n *node) bool {
	m, ok := s.Lookup(n.name)
	return ok && m.Peer.Same(n.reg.Self())
}

// A node that left and comes back in the same life hears nothing of what was
// broadcast meanwhile, and all that is after.
func TestWhoReturnsHearsNothingOfMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		say := func(text string) { require.NoError(t, n[0].svc.Broadcast(t.Context(), "", []byte(text))) }
		say("one")
		c.hears(n[2], "a", "one")
		require.NoError(t, n[2].svc.Leave(t.Context()))
		c.pass(time.Second)
		say("two")
		c.pass(time.Second)
		require.NoError(t, n[2].svc.Join(t.Context(), []string{addr("a")}))
		for _, x := range n {
			x.sees("a", "b", "c")
		}
		say("three")
		c.pass(10 * time.Second)
		c.hears(n[1], "a", "one", "two", "three")
		c.hears(n[2], "a", "one", "three")
	})
}
