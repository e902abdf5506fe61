package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/actors/watch"
	"github.com/maquis-go/maquis/overlay"
)

// keepers are the books of watches of all lives, over flows over relays.
type keepers struct {
	*flows
	books  map[overlay.Incarnation]*watch.Keeper[string, string]
	actors map[overlay.Incarnation]map[string]bool // that run
	ends   map[string]string                       // by watch: how it ended
}

func (x *keepers) book(p overlay.Peer) *watch.Keeper[string, string] {
	x.peers[p.Incarnation] = p
	if x.books[p.Incarnation] == nil {
		x.books[p.Incarnation] = watch.New[string, string]()
		x.actors[p.Incarnation] = map[string]bool{}
	}
	return x.books[p.Incarnation]
}

func life(p overlay.Peer) watch.Life { return watch.Life{Name: p.Name, Incarnation: p.Incarnation} }

// end is a Terminated at a watcher: once.
func (x *keepers) end(who, how string) {
	require.Empty(x.t, x.ends[who], "%s ended twice", who)
	x.ends[who] = how
}

// take is what a node does with a message of a watch.
func (x *keepers) take(k way, text string) {
	from, self := x.peers[k.from], x.peers[k.to]
	f := strings.Fields(text)
	if len(f) < 3 {
		return
	}
	book, key := x.book(self), watch.Key{Watcher: f[1], Watchee: f[2]}
	me, _ := x.w.Index(self.Name)
	there, _ := x.w.Index(from.Name)
	switch f[0] {
	case "sync":
		if why, told, known := book.Sync(life(from), key); known {
			return
		} else if told {
			x.say(me, there, fmt.Sprint("ended ", key.Watcher, " ", key.Watchee, " ", why))
			return
		}
		fallthrough
	case "watch":
		if !x.actors[self.Incarnation][key.Watchee] {
			x.say(me, there, fmt.Sprint("ended ", key.Watcher, " ", key.Watchee, " notfound"))
			return
		}
		book.WatchedBy(life(from), key)
	case "ended":
		if who, ok := book.Ended(life(from), key); ok {
			x.end(who, f[3])
		}
	}
}

// Watches between nodes, over flows over relays, while actors stop and nodes
// crash: each watch by an actor that is there ends exactly once if what it
// watches has stopped or its node is gone, and no other ends.
func TestWatchesOverRelaysUnderChurn(t *testing.T) {
	long(t)
	const n = 50
	x := &keepers{flows: newFlows(t, n), books: map[overlay.Incarnation]*watch.Keeper[string, string]{}, actors: map[overlay.Incarnation]map[string]bool{}, ends: map[string]string{}}
	x.onDelivered = x.take
	type standing struct {
		watcher, watchee overlay.Peer
		key              watch.Key
		id               string
	}
	var all []standing
	stopped := map[string]bool{} // actors
	for i := range 200 {
		from, to := x.pair()
		a, b := x.w.Peer(from), x.w.Peer(to)
		s := standing{a, b, watch.Key{Watcher: fmt.Sprint("w", i), Watchee: fmt.Sprint("x", i)}, fmt.Sprint("watch", i)}
		x.book(b)
		x.actors[b.Incarnation][s.key.Watchee] = i%10 != 0 // some are not there at all
		if i%10 == 0 {
			stopped[s.key.Watchee] = true
		}
		require.True(t, x.book(a).Watch(life(b), s.key, s.id))
		x.say(from, to, fmt.Sprint("watch ", s.key.Watcher, " ", s.key.Watchee))
		all = append(all, s)
	}
	x.w.Run(2 * time.Second)
	alive := func(p overlay.Peer) bool {
		i, _ := x.w.Index(p.Name)
		return x.w.Alive(i) && x.w.Peer(i) == p
	}
	for round := range 60 {
		if s := all[x.rng.IntN(len(all))]; round%2 == 0 && alive(s.watchee) && !stopped[s.key.Watchee] {
			stopped[s.key.Watchee] = true
			x.actors[s.watchee.Incarnation][s.key.Watchee] = false
			if x.book(s.watchee).Terminated(life(s.watcher), s.key, "stopped") && alive(s.watcher) {
				me, _ := x.w.Index(s.watchee.Name)
				there, _ := x.w.Index(s.watcher.Name)
				x.say(me, there, fmt.Sprint("ended ", s.key.Watcher, " ", s.key.Watchee, " stopped"))
			}
		}
		if i := 1 + x.rng.IntN(n-1); round%6 == 3 && x.w.Alive(i) {
			down := x.w.Peer(i)
			x.w.Crash(i)
			x.w.After(4*time.Second, func() { // the roster says so
				for _, j := range x.w.Live() {
					out, _ := x.book(x.w.Peer(j)).Gone(life(down))
					for _, e := range out {
						x.end(e.Of, "gone")
					}
				}
			})
		}
		if round%4 == 0 { // syncs, as when links come back
			for _, i := range x.w.Live() {
				me := x.w.Peer(i)
				for _, j := range x.w.Live() {
					for _, k := range x.book(me).Standing(life(x.w.Peer(j))) {
						x.say(i, j, fmt.Sprint("sync ", k.Watcher, " ", k.Watchee))
					}
				}
			}
		}
		x.w.Run(500 * time.Millisecond)
	}
	x.w.Run(10 * time.Second)
	require.NoError(t, x.w.Err())
	count := map[string]int{}
	for _, s := range all {
		if !alive(s.watcher) {
			continue
		}
		how := x.ends[s.id]
		count[how]++
		switch {
		case !alive(s.watchee):
			require.NotEmpty(t, how, "%s watches %s, whose node is gone", s.id, s.key.Watchee)
		case stopped[s.key.Watchee]:
			require.Contains(t, []string{"stopped", "notfound"}, how, "%s watches %s, which has stopped", s.id, s.key.Watchee)
		default:
			require.Empty(t, how, "%s watches %s, which runs", s.id, s.key.Watchee)
		}
	}
	t.Logf("watches by how they ended: %v", count)
	require.Greater(t, count["stopped"], 5)
	require.Greater(t, count["gone"], 5)
}
