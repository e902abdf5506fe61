//go:build linux

package faultnet

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func names(procs []*Proc) (list []string) {
	for _, p := range procs {
		list = append(list, p.Name)
	}
	return list
}

// partition cuts 2 of 5 nodes off for a time, with traffic over the cut and
// within the halves.
func partition(t *testing.T, w *world, id string, hold, rejoin, converge time.Duration) {
	w.start("a", "b", "c", "d", "e")
	left, right := w.procs[:2], w.procs[2:]
	flows := [][2]*Proc{{left[0], right[1]}, {right[1], left[1]}, {left[0], left[1]}, {right[0], right[2]}}
	for _, f := range flows {
		w.flow(f[0], f[1], 100, 100)
	}
	began := time.Now()
	require.NoError(t, w.Partition(names(left), names(right)))
	time.Sleep(time.Second)
	apart := w.exact(30*time.Second, left...)
	apart = max(apart, w.exact(30*time.Second, right...)) + time.Second
	w.took(id, "each half knows that the other is gone", apart, 0)
	w.calls(left...)
	w.calls(right...)
	time.Sleep(time.Until(began.Add(hold)))
	healed := time.Now()
	require.NoError(t, w.Heal())
	up, err := w.Await(healed, 60*time.Second, 1, func(e Event) bool { return e.Event == "up" })
	require.NoError(t, err)
	w.took(id, fmt.Sprintf("cut for %v, healed: the first is back", hold), up[0].At.Sub(healed), rejoin)
	w.exact(90 * time.Second)
	w.took(id, fmt.Sprintf("cut for %v, healed: all know all", hold), time.Since(healed), converge)
	w.calls(w.procs...)
	for _, a := range left {
		for _, b := range right {
			require.Equal(t, 1, w.count(began, a.Name, "terminated", b.Name), "%s has heard so often that the watch of %s has ended", a.Name, b.Name)
			require.Equal(t, 1, w.count(began, b.Name, "terminated", a.Name), "%s has heard so often that the watch of %s has ended", b.Name, a.Name)
		}
	}
	a := w.settle(flows...)
	w.counted(id, "messages twice or out of order", int(a.Duplicates+a.Disorder), 0)
}

// R1: both halves of a partition go on, and are one again after it.
func TestR1Partition(t *testing.T) {
	each(t, Options{}, func(t *testing.T, w *world) {
		partition(t, w, "R1", long(30*time.Second, 10*time.Second), 5*time.Second, 10*time.Second)
	})
}

// A partition that is much longer than it takes to declare nodes down heals to
// one overlay and exact rosters.
func TestLongPartition(t *testing.T) {
	if !*full {
		t.Skip("takes minutes: -faults.full")
	}
	for _, overlay := range []string{"hyparview", "fullmesh"} {
		t.Run(overlay, func(t *testing.T) {
			each(t, Options{Overlay: overlay}, func(t *testing.T, w *world) {
				partition(t, w, "long, "+overlay, 2*time.Minute, 0, 30*time.Second)
			})
		})
	}
}

// gone waits until a node has no link, and returns when that was.
func (w *world) gone(p *Proc, within time.Duration) time.Time {
	w.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		s, err := p.Stats()
		require.NoError(w.t, err)
		if s.Links == 0 {
			return time.Now()
		}
		require.True(w.t, time.Now().Before(end), "%s has %d links after %v", p.Name, s.Links, within)
	}
}

// R2: what only one of two hears of the other ends at both.
func TestR2OneWay(t *testing.T) {
	each(t, Options{}, func(t *testing.T, w *world) {
		w.start("a", "b")
		a, b := w.procs[0], w.procs[1]
		w.flow(a, b, 50, 100)
		w.flow(b, a, 50, 100)
		cut := time.Now()
		require.NoError(t, w.CutOneWay("b", "a"))
		dead := w.gone(a, 30*time.Second)
		if d := w.gone(b, 30*time.Second); d.After(dead) {
			dead = d
		}
		w.took("R2", "one way is cut: the link is dead at both ends", dead.Sub(cut), 6*time.Second)
		for _, by := range []string{"a", "b"} {
			_, err := w.Await(cut, 30*time.Second, 1, func(e Event) bool { return e.By == by && e.Event == "down" })
			require.NoError(t, err)
		}
		w.took("R2", "and each has declared the other down", time.Since(cut), 0)
		time.Sleep(2 * time.Second)
		for _, p := range w.procs { // no half-member: each is alone, and stays so
			require.NoError(t, w.Exact([]*Proc{p}))
			require.Equal(t, 1, w.count(cut, p.Name, "down", ""))
			require.Zero(t, w.count(cut, p.Name, "up", ""))
		}
		healed := time.Now()
		require.NoError(t, w.Heal())
		w.exact(60 * time.Second)
		w.took("R2", "healed: all know all", time.Since(healed), 10*time.Second)
		w.flows([2]*Proc{a, b}, [2]*Proc{b, a})
		w.settle([2]*Proc{a, b}, [2]*Proc{b, a})
	})
}

// R3: two that cannot reach each other talk over a third, and nobody is
// declared down.
func TestR3PartialMesh(t *testing.T) {
	for _, overlay := range []string{"hyparview", "fullmesh"} {
		t.Run(overlay, func(t *testing.T) {
			each(t, Options{Overlay: overlay}, func(t *testing.T, w *world) {
				w.start("a", "b", "c")
				a, b, c := w.procs[0], w.procs[1], w.procs[2]
				w.flow(a, c, 100, 100)
				w.flow(c, a, 100, 100)
				id := "R3, " + overlay
				cut := time.Now()
				require.NoError(t, w.Cut("a", "c"))
				w.took(id, "a–c is cut, b reaches both: until a request goes round", w.call(a, c, 30*time.Second), 0)
				time.Sleep(time.Until(cut.Add(long(30*time.Second, 10*time.Second))))
				w.counted(id, "evictions", w.count(cut, "", "down", "")+w.count(cut, "", "left", ""), 0)
				require.Zero(t, w.count(cut, "", "down", ""))
				require.Zero(t, w.count(cut, "", "terminated", ""))
				s, err := b.Stats()
				require.NoError(t, err)
				require.NotZero(t, s.Counters["relayed"], "b has relayed it")
				x := w.settle([2]*Proc{a, c}, [2]*Proc{c, a})
				w.figure(id, "messages missing, all told to be possibly lost", fmt.Sprintf("%d of %d", x.Missing, x.Sent), "–", true)
				require.NoError(t, w.Heal())
				w.exact(30 * time.Second)
			})
		})
	}
}

// R9: connections that are reset in the middle of frames come back, and what
// was lost is told.
func TestR9Reset(t *testing.T) {
	each(t, Options{}, func(t *testing.T, w *world) {
		w.start("a", "b")
		a, b := w.procs[0], w.procs[1]
		w.flow(a, b, 400, 20000)
		w.flow(b, a, 400, 20000)
		began, worst := time.Now(), time.Duration(0)
		for range 10 {
			time.Sleep(300 * time.Millisecond)
			require.NoError(t, w.Reset("a", "b"))
			worst = max(worst, w.call(a, b, 20*time.Second))
		}
		w.took("R9", "connections reset ten times: the longest until a request is answered", worst, time.Second)
		require.Zero(t, w.count(began, "", "down", ""))
		x := w.settle([2]*Proc{a, b}, [2]*Proc{b, a})
		w.figure("R9", "messages missing, all told to be possibly lost", fmt.Sprintf("%d of %d", x.Missing, x.Sent), "–", true)
		w.counted("R9", "messages twice or out of order", int(x.Duplicates+x.Disorder), 0)
	})
}

// R10: a peer that has vanished is found, with traffic to it and without.
func TestR10HalfOpen(t *testing.T) {
	for _, k := range []struct {
		what string
		rate float64
	}{{"without traffic", 0}, {"with traffic", 200}} {
		t.Run(k.what, func(t *testing.T) {
			each(t, Options{}, func(t *testing.T, w *world) {
				w.start("a", "b")
				a, b := w.procs[0], w.procs[1]
				if k.rate > 0 {
					w.flow(a, b, k.rate, 1000)
				}
				time.Sleep(time.Second)
				cut := time.Now()
				require.NoError(t, w.Cut("a", "b"))
				w.took("R10", "nothing passes any more, "+k.what+": the link is dead", w.gone(a, 30*time.Second).Sub(cut), 6*time.Second)
				_, err := w.Await(cut, 30*time.Second, 1, func(e Event) bool { return e.By == "a" && e.Event == "terminated" })
				require.NoError(t, err)
				w.took("R10", "and its watcher knows", time.Since(cut), 0)
				require.NoError(t, w.Heal())
				w.exact(60 * time.Second)
				if k.rate > 0 {
					w.settle([2]*Proc{a, b})
				}
			})
		})
	}
}

// R11: contacts that answer nothing, or refuse, hold up nobody and cost
// nothing.
func TestR11Blackhole(t *testing.T) {
	each(t, Options{}, func(t *testing.T, w *world) {
		w.start("a")
		hole := w.Place("hole") // nobody is there
		for _, name := range []string{"x", "y"} {
			require.NoError(t, w.Cut(name, "hole"))
		}
		x, err := w.Start("x", hole, "127.0.0.1:1", "a")
		require.NoError(t, err)
		started := time.Now()
		w.exact(30*time.Second, w.procs[0], x)
		w.took("R11", "one of three contacts answers, the others swallow and refuse: until joined", time.Since(started), 3*time.Second)
		y, err := w.Start("y", hole, "127.0.0.1:1")
		require.NoError(t, err)
		started = time.Now()
		refused, err := w.Await(started.Add(-time.Second), 20*time.Second, 1, func(e Event) bool { return e.By == "y" && e.Event == "refused" && e.Node == hole })
		require.NoError(t, err)
		require.Equal(t, "timeout", refused[0].Detail)
		w.took("R11", "a dial that nobody answers is given up", refused[0].At.Sub(started), 3300*time.Millisecond)
		before, err := y.Stats()
		require.NoError(t, err)
		during := long(30*time.Second, 5*time.Second)
		time.Sleep(during)
		after, err := y.Stats()
		require.NoError(t, err)
		cpu := 100 * (after.CPU - before.CPU).Seconds() / during.Seconds()
		w.figure("R11", "processor time of a node that finds nobody", fmt.Sprintf("%.1f %%", cpu), "≤ 5 %", cpu <= 5)
		require.Less(t, cpu, 20.0, "a hot loop")
	})
}
