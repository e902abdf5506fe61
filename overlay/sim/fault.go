package sim

import (
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Crash ends the life of a node without a word. The other ends of its links
// learn of it by Config.Detect.
func (w *World) Crash(i int) {
	at := w.hosts[i]
	l := &w.lives[at]
	if l.dead {
		return
	}
	l.dead = true
	for _, t := range l.timers {
		if t.busy {
			w.busy--
		}
	}
	l.timers, l.waiting = nil, nil
	for _, e := range l.links {
		k := &w.links[e.link]
		if k.state != linkUp || k.dying {
			continue
		}
		switch w.cfg.Detect {
		case OnReset:
			w.kill(e.link, w.delay(at, e.to), messages.ReasonReset)
		case OnSilence:
			w.kill(e.link, overlay.Time(w.cfg.Silent), messages.ReasonSilent)
		}
	}
}

// CrashFraction crashes a part of the nodes that live, drawn at random except
// for those to spare, and returns who crashed.
func (w *World) CrashFraction(part float64, spare ...int) []int {
	live := w.Live()
	n := int(part*float64(len(live)) + 0.5)
	w.chance.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
	var crashed []int
	for _, i := range live {
		if len(crashed) < n && !contains(spare, i) {
			w.Crash(i)
			crashed = append(crashed, i)
		}
	}
	return crashed
}

func contains(list []int, x int) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

// Restart begins a new life of a node, with a new incarnation under the name
// and address that it had. A life that runs is crashed first. What is left of
// old links is reset by the new life's system.
func (w *World) Restart(i int) {
	w.Crash(i)
	at := w.hosts[i]
	for _, e := range w.lives[at].links {
		if k := &w.links[e.link]; k.state == linkUp && !k.dying {
			w.kill(e.link, w.delay(at, e.to), messages.ReasonReset)
		}
	}
	w.begin(i)
}

// Leave asks a node to leave in order; it crashes after a time for its last
// words.
func (w *World) Leave(i int, after time.Duration) {
	w.Feed(i, overlay.Leave{})
	at := w.hosts[i]
	w.After(after, func() {
		if w.hosts[i] == at {
			w.Crash(i)
		}
	})
}

// Partition cuts the network into parts: nodes named in one group reach each
// other only, and the nodes named in none are a part too.
func (w *World) Partition(groups ...[]int) {
	for i := range w.lives {
		w.lives[i].part = 0
	}
	for g, group := range groups {
		for _, i := range group {
			w.life(i).part = int32(g + 1)
		}
	}
	w.parts = true
	w.silence()
}

// Cut cuts what goes from one node to another, in that direction only. As with
// TCP, what was sent meanwhile arrives if the cut ends before the link is
// down, and the link is down for both when it has been silent.
func (w *World) Cut(from, to int) {
	w.cuts[[2]int32{int32(from), int32(to)}] = true
	w.silence()
}

// Mend ends a Cut.
func (w *World) Mend(from, to int) {
	delete(w.cuts, [2]int32{int32(from), int32(to)})
	w.resume()
}

// Heal ends all partitions and cuts.
func (w *World) Heal() {
	w.parts = false
	clear(w.cuts)
	w.resume()
}

// cut reports whether nothing gets from one life to another.
func (w *World) cut(from, to int32) bool {
	a, b := &w.lives[from], &w.lives[to]
	return w.parts && a.part != b.part || len(w.cuts) > 0 && w.cuts[[2]int32{a.host, b.host}]
}

// severed reports whether a session is cut in either direction.
func (w *World) severed(k *link) bool {
	return w.cut(k.ends[0], k.ends[1]) || w.cut(k.ends[1], k.ends[0])
}

// silence lets the sessions that are cut now die when they have been silent.
func (w *World) silence() {
	for i := range w.links {
		k := &w.links[i]
		if k.state != linkUp || k.dying || !w.severed(k) {
			continue
		}
		at, stamp := int32(i), k.stamp
		w.After(w.cfg.Silent, func() {
			if k := &w.links[at]; k.stamp == stamp && !k.dying && w.severed(k) {
				w.kill(at, 0, messages.ReasonSilent)
			}
		})
	}
}

// resume sends what the sessions held while they were cut.
func (w *World) resume() {
	for i := range w.links {
		if k := &w.links[i]; k.state != linkUp {
			continue
		}
		w.flush(int32(i))
	}
}

// Suspend stops a node, as SIGSTOP does: what happens to it waits. Links that
// it does not speak on are silent, and die of it.
func (w *World) Suspend(i int) {
	at := w.hosts[i]
	l := &w.lives[at]
	if l.dead || l.suspended {
		return
	}
	l.suspended, l.since = true, w.now
	w.After(w.cfg.Silent, func() {
		l := &w.lives[at]
		if !l.suspended || l.dead || w.now.Sub(l.since) < w.cfg.Silent {
			return
		}
		for _, e := range l.links {
			if k := &w.links[e.link]; k.state == linkUp && !k.dying {
				w.kill(e.link, 0, messages.ReasonSilent)
			}
		}
	})
}

// Release lets a suspended node go on. Its machine is told the gap before
// anything else.
func (w *World) Release(i int) {
	at := w.hosts[i]
	l := &w.lives[at]
	if l.dead || !l.suspended {
		return
	}
	l.suspended = false
	w.schedule(0, event{kind: eventFeed, busy: true, life: at, what: overlay.Resumed{Gap: w.now.Sub(l.since)}})
	waiting := l.waiting
	l.waiting = nil
	for _, e := range waiting {
		w.schedule(0, e)
	}
}

// Slow makes each message from or to a node, and its timers, later by so much;
// 0 ends it.
func (w *World) Slow(i int, by time.Duration) {
	w.life(i).slow = by
	w.uniform = false
}

// Lose sets the part of messages that vanish on all links.
func (w *World) Lose(part float64) { w.cfg.Link.Loss = part }

// Flap cuts and mends the way between two nodes, both directions, each period,
// so many times.
func (w *World) Flap(a, b int, period time.Duration, times int) {
	if times <= 0 {
		return
	}
	w.Cut(a, b)
	w.Cut(b, a)
	w.After(period, func() {
		w.Mend(a, b)
		w.Mend(b, a)
		w.After(period, func() { w.Flap(a, b, period, times-1) })
	})
}
