package peerservice

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/overlay/roster"
)

// specs is one overlay of each kind, for nodes n0 to n(count-1).
func specs(count int) map[string]func(i int) OverlaySpec {
	plain := func(kind string) func(int) OverlaySpec {
		return func(int) OverlaySpec { return OverlaySpec{Kind: kind} }
	}
	name := func(i int) string { return fmt.Sprint("n", (i+count)%count) }
	return map[string]func(int) OverlaySpec{
		FullMesh: plain(FullMesh), HyParView: plain(HyParView), XBot: plain(XBot), Scamp: plain(Scamp),
		ClientServer: func(int) OverlaySpec { return OverlaySpec{Kind: ClientServer, Servers: []string{"n0"}} },
		Static: func(i int) OverlaySpec {
			return OverlaySpec{Kind: Static, Neighbors: []string{name(i - 3), name(i - 1), name(i + 1), name(i + 3)}}
		},
	}
}

// knows waits until all of a list know exactly each other.
func (c *cluster) knows(within time.Duration, list ...*node) {
	c.t.Helper()
	var want []string
	for _, n := range list {
		want = append(want, n.name)
	}
	slices.Sort(want)
	c.until(within, func() string {
		for _, n := range list {
			var got []string
			for _, m := range n.svc.View().Members {
				if got = append(got, m.Peer.Name); m.Status != roster.StatusAlive {
					return fmt.Sprintf("%s takes %s for %s", n.name, m.Peer.Name, m.Status)
				}
			}
			if !slices.Equal(got, want) {
				return fmt.Sprintf("%s knows %v, not %v", n.name, got, want)
			}
		}
		return ""
	})
}

// Over each overlay all know all, a crash, a restart and a leave become known
// to all, and a message reaches whom there is no link to.
func TestOverlays(t *testing.T) {
	const count = 12
	for kind, spec := range specs(count) {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				var list []*node
				start := func(i int, seed string) *node {
					return c.start(fmt.Sprint("n", i), []string{addr(seed)}, func(cfg *Config) { cfg.Overlays = []OverlaySpec{spec(i)} })
				}
				for i := range count {
					list = append(list, start(i, "n0"))
				}
				c.knows(30*time.Second, list...)
				for i, from := range list {
					to := list[(i+5)%count]
					s, why := from.svc.Session(to.name)
					require.Empty(t, why)
					require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String(from.name)}))
				}
				c.until(10*time.Second, func() string {
					for i, from := range list {
						to := list[(i+5)%count]
						to.mu.Lock()
						ok := slices.Contains(to.got, from.name)
						to.mu.Unlock()
						if !ok {
							return to.name + " heard nothing of " + from.name
						}
					}
					return ""
				})
				list[7].crash()
				list = slices.Delete(list, 7, 8)
				c.knows(20*time.Second, list...)
				list = append(list, start(7, "n3"))
				c.knows(20*time.Second, list...)
				require.NoError(t, list[4].svc.Leave(t.Context()))
				left := list[4]
				list = slices.Delete(list, 4, 5)
				c.knows(20*time.Second, list...)
				require.NoError(t, left.svc.Join(t.Context(), []string{addr("n2")}))
				c.knows(20*time.Second, append(list, left)...)
			})
		})
	}
}

// With each policy messages reach whom no overlay has a link to, in order; with
// relays only nobody is dialed beyond the overlay.
func TestRouting(t *testing.T) {
	const count = 12
	for kind, spec := range specs(count) {
		for name, policy := range map[string]channelmgr.Policy{"relay": channelmgr.RelayOnly, "adaptive": channelmgr.Adaptive, "direct": channelmgr.DirectFirst} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				bubble(t, func(t *testing.T, c *cluster) {
					c.routing = policy
					var list []*node
					for i := range count {
						list = append(list, c.start(fmt.Sprint("n", i), []string{addr("n0")}, func(cfg *Config) { cfg.Overlays = []OverlaySpec{spec(i)} }))
					}
					c.knows(30*time.Second, list...)
					c.pass(10 * time.Second) // links that only the joins needed are closed
					const messages = 50
					for k := range messages {
						for i, from := range list {
							for _, d := range []int{2, 5} {
								s, why := from.svc.Session(list[(i+d)%count].name)
								require.Empty(t, why)
								require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String(fmt.Sprint(from.name, " ", k))}))
							}
						}
					}
					c.until(30*time.Second, func() string {
						for i, to := range list {
							for _, d := range []int{2, 5} {
								from := list[(i-d+count)%count]
								to.mu.Lock()
								n, order := 0, true
								for _, g := range to.got {
									if w, k, _ := strings.Cut(g, " "); w == from.name {
										order = order && k == fmt.Sprint(n)
										n++
									}
								}
								to.mu.Unlock()
								require.True(t, order && n <= messages)
								if n < messages {
									return fmt.Sprintf("%s has %d messages of %s", to.name, n, from.name)
								}
							}
						}
						return ""
					})
					if policy == channelmgr.RelayOnly && (kind == Static || kind == ClientServer) { // which dial nobody else
						for _, n := range list {
							for _, s := range n.reg.Sessions() {
								near := slices.ContainsFunc(n.svc.Neighbors(), s.Peer().Same)
								require.True(t, near || !s.Direct(), "%s has a link to %s, who is no neighbor", n.name, s.Peer())
							}
						}
					}
				})
			})
		}
	}
}

func TestOverlaySpecsAreChecked(t *testing.T) {
	for want, list := range map[string][]OverlaySpec{
		`"ring"; use one of clientserver, fullmesh, hyparview, scamp, static, xbot`: {{Kind: "ring"}},
		`two overlays have the id "main"`:                                           {{}, {}},
		"Config.Servers is empty":                                                   {{Kind: ClientServer}},
		"Config.Neighbors is empty":                                                 {{Kind: Static}},
		`overlay id "roster"`:                                                       {{ID: "roster"}},
		`overlay "x": hyparview`:                                                    {{ID: "x", Kind: HyParView, Active: -1}},
	} {
		_, err := overlays(list, "a")
		require.ErrorContains(t, err, want)
	}
}
