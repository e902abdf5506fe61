//go:build linux

package faultnet

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// R12: processes are killed: one, half of the rest, all but one.
func TestR12Kill(t *testing.T) {
	each(t, Options{}, func(t *testing.T, w *world) {
		w.start("a", "b", "c", "d", "e", "f", "g", "h")
		w.flow(w.procs[0], w.procs[7], 100, 100)
		w.flow(w.procs[0], w.procs[1], 100, 100)
		for _, k := range []struct {
			what  string
			from  int
			until int
		}{{"one of 8", 7, 8}, {"4 of 7 at once", 3, 7}, {"2 of 3 at once", 1, 3}} {
			began := time.Now()
			var wg sync.WaitGroup
			for _, p := range w.procs[k.from:k.until] {
				wg.Add(1)
				go func() {
					defer wg.Done()
					_ = p.Kill()
				}()
			}
			wg.Wait()
			rest := w.procs[:k.from]
			w.exact(60*time.Second, rest...)
			w.took("R12", k.what+" killed: the survivors' rosters are exact", time.Since(began), 10*time.Second)
			for _, dead := range w.procs[k.from:k.until] {
				ends, err := w.Await(began, 20*time.Second, len(rest), func(e Event) bool { return e.Event == "terminated" && e.Node == dead.Name })
				require.NoError(t, err)
				require.Len(t, ends, len(rest), "each survivor's watch of %s ends once", dead.Name)
			}
			w.calls(rest...)
		}
		w.settle([2]*Proc{w.procs[0], w.procs[7]}, [2]*Proc{w.procs[0], w.procs[1]})
	})
}

// R13: a process that stands still for a second is nobody's concern; for
// longer, it is declared down and comes back as it is.
func TestR13Suspend(t *testing.T) {
	each(t, Options{}, func(t *testing.T, w *world) {
		w.start("a", "b", "c")
		a, c := w.procs[0], w.procs[2]
		w.flow(a, c, 100, 100)
		w.flow(c, a, 100, 100)
		for _, d := range []time.Duration{time.Second, 5 * time.Second, long(30*time.Second, 12*time.Second)} {
			began := time.Now()
			require.NoError(t, c.Suspend())
			time.Sleep(d)
			require.NoError(t, c.Resume())
			woke := time.Now()
			switch d {
			case time.Second:
				time.Sleep(3 * time.Second)
				w.counted("R13", "stands still for 1s: suspicions", w.count(began, "", "suspect", ""), 0)
				require.Zero(t, w.count(began, "", "down", ""), "a second is nothing")
			case 5 * time.Second:
				w.exact(30 * time.Second)
				w.took("R13", "stands still for 5s: all know all again", time.Since(woke), 0)
			default:
				down := w.Events(began, func(e Event) bool { return e.Event == "down" && e.Node == "c" && e.By == "a" })
				require.NotEmpty(t, down)
				w.took("R13", fmt.Sprintf("stands still for %v: declared down", d), down[0].At.Sub(began), 0)
				up, err := w.Await(woke, 60*time.Second, 1, func(e Event) bool { return e.Event == "up" && e.Node == "c" && e.By == "a" })
				require.NoError(t, err)
				require.Greater(t, up[0].Generation, uint64(1))
				require.Equal(t, c.Life(), up[0].Life)
				w.exact(60 * time.Second)
				w.took("R13", fmt.Sprintf("stands still for %v: all know all again", d), time.Since(woke), 10*time.Second)
				w.calls(w.procs...)
			}
		}
		x := w.settle([2]*Proc{a, c}, [2]*Proc{c, a})
		w.counted("R13", "messages twice or out of order", int(x.Duplicates+x.Disorder), 0)
	})
}

// R25: a second node of a live one's name is refused, and changes nothing; one
// that comes after the end of the first takes its place at once.
func TestR25Names(t *testing.T) {
	each(t, Options{}, func(t *testing.T, w *world) {
		w.start("a", "b", "c")
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		began := time.Now()
		thief, err := w.launch("thief", "c", []string{"a"})
		require.NoError(t, err)
		require.NoError(t, thief.listening())
		listens := time.Now()
		_, err = thief.Ask(Order{Do: "join", Addrs: []string{w.Place("a")}, Wait: 20 * time.Second}, 10*time.Second)
		require.ErrorContains(t, err, "name")
		w.took("R25", "a second node of a live name is refused", time.Since(listens), 2*time.Second)
		time.Sleep(3 * time.Second)
		require.NoError(t, thief.Kill())
		w.exact(10*time.Second, a, b, c)
		for _, kind := range []string{"up", "down", "suspect", "terminated"} {
			require.Zero(t, len(w.Events(began, func(e Event) bool { return e.By != "c" && e.Event == kind })), "%s", kind)
		}

		old := c.Life()
		killed := time.Now()
		require.NoError(t, c.Kill())
		c, err = w.Start("c", "a")
		require.NoError(t, err)
		listens = time.Now()
		w.exact(60*time.Second, a, b, c)
		w.took("R25", "killed and started at once under its name and address: all know the new life", time.Since(listens), 2*time.Second)
		time.Sleep(long(20*time.Second, 5*time.Second))
		for _, by := range []string{"a", "b"} { // once over, once back, and no more
			require.Len(t, w.Events(killed, func(e Event) bool { return e.By == by && e.Event == "down" && e.Life == old }), 1)
			require.Equal(t, 1, w.count(killed, by, "down", ""))
			require.Len(t, w.Events(killed, func(e Event) bool { return e.By == by && e.Event == "up" && e.Life == c.Life() }), 1)
			require.Equal(t, 1, w.count(killed, by, "up", ""))
		}
		w.calls(a, b, c)
	})
}

// R30: 16 processes that start at once are one cluster.
func TestR30JoinStorm(t *testing.T) {
	each(t, Options{}, func(t *testing.T, w *world) {
		const count = 16
		seeds := []string{"n0", "n1", "n2"}
		began := time.Now()
		for i := range count {
			name := fmt.Sprint("n", i)
			var others []string
			for _, s := range seeds {
				if s != name {
					others = append(others, s)
				}
			}
			p, err := w.launch(name, name, others)
			require.NoError(t, err)
			w.procs = append(w.procs, p)
		}
		for _, p := range w.procs {
			require.NoError(t, p.listening())
		}
		last := time.Now()
		w.exact(60 * time.Second)
		w.took("R30", "16 start at once: from the first start until all know all", time.Since(began), 0)
		w.took("R30", "from when the last one listens", time.Since(last), 3*time.Second)
		w.calls(w.procs[0], w.procs[5], w.procs[15])
		most := 0
		for _, p := range w.procs {
			s, err := p.Stats()
			require.NoError(t, err)
			require.NotZero(t, s.Neighbors, p.Name)
			most = max(most, s.Neighbors)
			if p != w.procs[0] {
				w.call(w.procs[0], p, 20*time.Second) // one component
			}
		}
		w.counted("R30", "neighbors at most", most, 6)
	})
}
