package introduce

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

var errDown = errors.New("the source is down")

// Nodes that start in any order, and hear of all from the start, find each
// other.
func TestColdStart(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		var all []*node
		for i, name := range names(20) {
			n := w.start(name, nil)
			all = append(all, n)
			n.hears(names(20)...)
			if i%3 == 0 {
				time.Sleep(700 * time.Millisecond)
			}
		}
		within(t, 30*time.Second, "all are one", func() bool { return all[0].size() == 20 })
		for _, n := range all {
			require.Equal(t, Own, n.state(n.name).State)
		}
		w.mu.Lock()
		require.Less(t, w.dials, 20*8)
		w.mu.Unlock()
	})
}

func TestTwoFindEachOtherInASecond(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a, b := w.start("a", nil), w.start("b", nil)
		a.hears("a", "b")
		b.hears("a")
		within(t, time.Second, "joined", func() bool { return a.size() == 2 })
		within(t, time.Second, "a member", func() bool { return a.state("b").State == IsMember })
		require.True(t, b.intro.Status().Calm)
	})
}

// Two clusters, each complete for itself, become one once a source names both.
func TestIslandsMerge(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		var all []*node
		for i, name := range names(10) {
			n := w.start(name, nil)
			all = append(all, n)
			n.hears(names(10)[i/5*5 : i/5*5+5]...)
		}
		within(t, 30*time.Second, "islands", func() bool { return all[0].size() == 5 && all[9].size() == 5 })
		time.Sleep(time.Hour)
		require.Equal(t, 5, all[0].size())
		all[3].hears(names(10)...)
		within(t, 15*time.Second, "merged", func() bool { return all[0].size() == 10 })
	})
}

// An outage, an empty answer and flapping take no candidate away and no member
// down, whatever the policy but libcluster's.
func TestSourceOutage(t *testing.T) {
	for name, prune := range map[string]Prune{"never": PruneNever, "after": PruneAfter(10 * time.Second), "immediately": PruneImmediately} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				a := w.start("a", func(c *Config) { c.Prune = prune })
				for _, n := range []string{"b", "c"} {
					w.start(n, nil)
				}
				a.hears("a", "b", "c")
				within(t, 10*time.Second, "joined", func() bool { return a.size() == 3 })
				a.source.say <- discovery.Snapshot{Err: errDown}
				time.Sleep(time.Minute)
				a.source.say <- discovery.Snapshot{Candidates: whole("b").Candidates, Partial: true}
				time.Sleep(time.Minute)
				require.Len(t, a.intro.Status().Candidates, 3)
				require.Empty(t, a.pruned())
				for range 30 { // flapping
					a.source.say <- discovery.Snapshot{Err: errDown}
					time.Sleep(time.Second)
					a.hears("a", "b", "c")
					time.Sleep(time.Second)
				}
				require.Empty(t, a.pruned())
				a.hears() // empty
				time.Sleep(time.Minute)
				if prune == PruneImmediately {
					require.Len(t, a.pruned(), 2, "libcluster's meaning")
					return
				}
				require.Empty(t, a.pruned())
				require.Len(t, a.intro.Status().Candidates, 3)
				a.hears("a", "b")
				time.Sleep(5 * time.Second)
				require.Empty(t, a.pruned())
				time.Sleep(time.Minute)
				if prune == PruneNever {
					require.Empty(t, a.pruned())
				} else {
					require.Len(t, a.pruned(), 1)
					require.Equal(t, "c", a.pruned()[0].Node)
					require.InDelta(t, 10, a.pruned()[0].Absent.Seconds(), 6)
				}
				require.Len(t, a.intro.Status().Candidates, 2)
			})
		})
	}
}

// What is named again in time is not pruned.
func TestPruneAfterForgives(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.start("a", func(c *Config) { c.Prune = PruneAfter(10 * time.Second) })
		w.start("b", nil)
		a.hears("b")
		within(t, 10*time.Second, "joined", func() bool { return a.size() == 2 })
		for range 20 {
			a.hears("x")
			time.Sleep(6 * time.Second)
			a.hears("b")
			time.Sleep(6 * time.Second)
		}
		require.Empty(t, a.pruned())
	})
}

// One of a thousand candidates lives: the node finds it, in bounded calls, and
// is then quiet.
func TestThousandCandidates(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		list := names(1000)
		a := w.start("a", nil)
		w.start("n777", nil)
		a.hears(list...)
		took := within(t, 2*time.Minute, "found", func() bool { return a.size() == 2 })
		dialed := a.intro.Status().Counts.Dialed
		require.LessOrEqual(t, dialed, uint64(took/gapAlone*5/4+4))
		time.Sleep(time.Minute)
		before := a.intro.Status().Counts.Dialed
		time.Sleep(time.Hour)
		after := a.intro.Status().Counts.Dialed
		require.InDelta(t, 360, after-before, 60, "one about every 10 s")
	})
}

// A whole cluster of candidates that live: only a few are dialed.
func TestFewAreDialed(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		list := names(1000)
		set := map[string]*node{}
		for _, name := range list {
			n := &node{w: w, name: name, addr: addrOf(name), cluster: "c", up: true}
			w.nodes[n.addr], set[n.addr], n.set = n, n, set
		}
		a := w.start("a", nil)
		a.hears(append(list, "a")...)
		within(t, time.Second, "joined", func() bool { return a.size() == 1001 })
		time.Sleep(time.Hour)
		require.LessOrEqual(t, a.intro.Status().Counts.Dialed, uint64(3))
	})
}

// Poisoned entries cost nothing; strangers are asked rarely, and explained.
func TestPoison(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.start("a", nil)
		w.start("b", nil)
		s := w.start("s", nil)
		w.mu.Lock()
		s.cluster = "other"
		w.mu.Unlock()
		snap := whole("a", "b", "b", "s", "dead")
		for _, addr := range []string{"169.254.1.1:6278", "[fe80::1]:6278", "0.0.0.0:6278", "[::]:1", "224.0.0.1:9", "255.255.255.255:9", "10.0.0.1:0", "junk"} {
			snap.Candidates = append(snap.Candidates, discovery.Candidate{Addr: addr})
		}
		snap.Candidates = append(snap.Candidates, discovery.Candidate{Addr: addrOf("ends"), Terminating: true})
		a.source.say <- snap
		within(t, 10*time.Second, "joined", func() bool { return a.size() == 2 })
		within(t, time.Minute, "both are tried", func() bool { return a.state("s").State == Refused && a.state("dead").State == Failed })
		time.Sleep(time.Hour)
		st := a.intro.Status()
		require.Less(t, st.Counts.Refused, uint64(12), "of a stranger: every ten minutes")
		require.Less(t, st.Counts.Dialed, uint64(100))
		states := map[State]int{}
		for _, c := range st.Candidates {
			states[c.State]++
		}
		require.Equal(t, map[State]int{Own: 1, IsMember: 1, Refused: 1, Failed: 1, Skipped: 8, Terminating: 1}, states)
		text := a.intro.Explain()
		for _, part := range []string{"1 other members; 13 candidates", "source     source", "s:6278", "refused (wrong_cluster)", "correct the cluster's name", "dead:6278", "nothing listens there", "without its interface", "terminating"} {
			require.Contains(t, text, part)
		}
		// The one that ended is followed by another at its address.
		w.start("ends", nil)
		a.hears("a", "b", "ends")
		within(t, time.Minute, "the new one", func() bool { return a.size() == 3 })
	})
}

// A node that drains and leaves is not drawn in again by those that stay.
func TestDrain(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a, b := w.start("a", nil), w.start("b", nil)
		w.start("c", nil)
		a.hears("a", "b", "c")
		b.hears("a", "b", "c")
		within(t, 10*time.Second, "joined", func() bool { return a.size() == 3 })
		b.stop() // before it leaves
		w.mu.Lock()
		b.left = true
		w.mu.Unlock()
		within(t, 10*time.Second, "seen", func() bool { return a.state("b").State == HasLeft })
		before := a.intro.Status().Counts.Dialed
		time.Sleep(30 * time.Second)
		require.Equal(t, before, a.intro.Status().Counts.Dialed)
		require.Equal(t, 2, b.size())
	})
}

// A node that is alone again dials at once.
func TestAloneAgain(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a, b := w.start("a", nil), w.start("b", nil)
		a.hears("a", "b")
		within(t, 5*time.Second, "joined", func() bool { return a.size() == 2 })
		time.Sleep(time.Hour)
		w.mu.Lock()
		b.up, a.set = false, map[string]*node{a.addr: a}
		w.mu.Unlock()
		within(t, 20*time.Second, "failed", func() bool { return a.state("b").State == Failed })
		w.mu.Lock()
		b.up, b.set = true, map[string]*node{b.addr: b}
		w.mu.Unlock()
		within(t, 90*time.Second, "joined again", func() bool { return a.size() == 2 })
	})
}

func TestBadConfig(t *testing.T) {
	_, err := New(Config{Strategies: []discovery.Strategy{discovery.Static{}}, Prune: PruneImmediately, Dials: -1, RetryMin: time.Hour, RetryMax: time.Minute, Merge: -1})
	for _, part := range []string{"Addrs is empty", "Members and Join are needed", "Prune without OnGone", "Dials are 2 and -1", "RetryMax 1m0s", "Merge is -1ns"} {
		require.ErrorContains(t, err, part)
	}
	_, err = New(Config{})
	require.ErrorContains(t, err, "Strategies is empty")
}

// A Join that panics or hangs is one failed candidate.
func TestBadJoin(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.start("a", func(c *Config) {
			join := c.Join
			c.Join = func(ctx context.Context, addr string) error {
				switch {
				case strings.HasPrefix(addr, "panics"):
					panic("join's fault")
				case strings.HasPrefix(addr, "hangs"):
					<-ctx.Done()
					return ctx.Err()
				}
				return join(ctx, addr)
			}
		})
		w.start("b", nil)
		a.hears("panics", "hangs", "b")
		within(t, 15*time.Second, "joined", func() bool { return a.size() == 2 })
		within(t, time.Minute, "hangs", func() bool { return a.state("hangs").Reason == "timeout" })
		within(t, time.Minute, "panics", func() bool { return strings.Contains(a.state("panics").Err, "join's fault") })
	})
}

func TestRemedies(t *testing.T) {
	for word := range words {
		require.NotEmpty(t, Remedy(word))
	}
	require.Empty(t, Remedy("error"))
	require.Equal(t, "timeout", ReasonOf(fmt.Errorf("x: %w", context.DeadlineExceeded)))
	require.Equal(t, "error", ReasonOf(errDown))
}
