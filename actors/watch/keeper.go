// Package watch is the book of watches between nodes, as pure state: which
// actors here watch actors there, which are watched from there, and which ends
// were told lately. It promises exactly one end per watch; package actors sends
// and posts what it says. It has no lock: callers serialize access.
package watch

import (
	"cmp"
	"slices"

	"github.com/maquis-go/maquis/overlay"
)

// Life is one life of another node.
type Life = overlay.Life

// Key names a watch between this node and a life of another: the ids of two
// actors.
type Key struct{ Watcher, Watchee string }

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Watcher, o.Watcher), cmp.Compare(k.Watchee, o.Watchee))
}

// MaxRecent bounds the ends that are remembered per life. Our choice.
const MaxRecent = 4096

// Keeper is the book of one node. W is what a watcher gave, which its end hands
// back; R is the reason of an end.
type Keeper[W, R any] struct {
	lives   map[Life]*page[W, R]
	stopped bool
}

// page is what stands between this node and one life.
type page[W, R any] struct {
	out    map[Key]W        // actors here watch actors there
	in     map[Key]struct{} // actors there watch actors here
	recent map[Key]R        // ends that were told, in case the telling was lost
	order  []Key            // of recent, oldest first
}

// Ending is the end of a watch.
type Ending[T any] struct {
	Key Key
	Of  T // what the watcher gave, or the reason
}

// New makes an empty book.
func New[W, R any]() *Keeper[W, R] { return &Keeper[W, R]{lives: make(map[Life]*page[W, R])} }

func (k *Keeper[W, R]) page(l Life) *page[W, R] {
	p := k.lives[l]
	if p == nil {
		p = &page[W, R]{out: make(map[Key]W), in: make(map[Key]struct{}), recent: make(map[Key]R)}
		k.lives[l] = p
	}
	return p
}

// Watch notes that an actor here watches one there. It reports false once the
// book is closed.
func (k *Keeper[W, R]) Watch(l Life, key Key, who W) bool {
	if k.stopped {
		return false
	}
	k.page(l).out[key] = who
	return true
}

// Unwatch ends a watch without an end; it reports whether it stood. So does
// Ended for one that ends: whoever takes it tells the watcher.
func (k *Keeper[W, R]) Unwatch(l Life, key Key) bool {
	_, ok := k.Ended(l, key)
	return ok
}

// Ended takes a watch that ends out of the book. Only one that stands is ended:
// so no watcher hears of it twice, or of what it never watched.
func (k *Keeper[W, R]) Ended(l Life, key Key) (who W, ok bool) {
	if p := k.lives[l]; p != nil {
		who, ok = p.out[key]
		delete(p.out, key)
	}
	return who, ok
}

// WatchedBy notes that an actor there watches one here.
func (k *Keeper[W, R]) WatchedBy(l Life, key Key) {
	p := k.page(l)
	p.in[key] = struct{}{}
	p.forget(key)
}

// UnwatchedBy ends that; it reports whether it stood.
func (k *Keeper[W, R]) UnwatchedBy(l Life, key Key) bool {
	p := k.lives[l]
	if p == nil {
		return false
	}
	_, ok := p.in[key]
	delete(p.in, key)
	return ok
}

// Terminated notes that an actor here, which one there watches, has stopped. It
// reports whether the watch stood, and is to be told. The end is remembered.
func (k *Keeper[W, R]) Terminated(l Life, key Key, why R) bool {
	if !k.UnwatchedBy(l, key) {
		return false
	}
	p := k.lives[l]
	p.forget(key)
	if len(p.order) >= MaxRecent { // a sync that is so late finds nobody
		delete(p.recent, p.order[0])
		p.order = p.order[1:]
	}
	p.recent[key] = why
	p.order = append(p.order, key)
	return true
}

func (p *page[W, R]) forget(key Key) {
	if _, ok := p.recent[key]; ok {
		delete(p.recent, key)
		p.order = slices.DeleteFunc(p.order, func(x Key) bool { return x == key })
	}
}

// Gone closes the page of a life that is over: it returns the watches that end
// with it, and the watches from there that are no more, both in the order of
// their keys.
func (k *Keeper[W, R]) Gone(l Life) (out []Ending[W], in []Key) {
	p := k.lives[l]
	if p == nil {
		return nil, nil
	}
	delete(k.lives, l)
	for key, who := range p.out {
		out = append(out, Ending[W]{key, who})
	}
	slices.SortFunc(out, func(a, b Ending[W]) int { return a.Key.compare(b.Key) })
	for key := range p.in {
		in = append(in, key)
	}
	slices.SortFunc(in, Key.compare)
	return out, in
}

// Stop closes the book. It returns the lives whose pages are to be closed with
// Gone, in the order of their names.
func (k *Keeper[W, R]) Stop() []Life {
	k.stopped = true
	var lives []Life
	for l := range k.lives {
		lives = append(lives, l)
	}
	slices.SortFunc(lives, Life.Compare)
	return lives
}

// Standing lists the watches of actors here on a life's, in the order of their
// keys: what a sync tells when a link is up again, since some may have been
// lost with the one before.
func (k *Keeper[W, R]) Standing(l Life) []Key {
	var list []Key
	if p := k.lives[l]; p != nil {
		for key := range p.out {
			list = append(list, key)
		}
	}
	slices.SortFunc(list, Key.compare)
	return list
}

// Sync takes what stands at another node, one watch at a time: known is to be
// left alone, told was ended before (its reason is to be told again), and any
// other is new here.
func (k *Keeper[W, R]) Sync(l Life, key Key) (why R, told, known bool) {
	p := k.lives[l]
	if p == nil {
		return why, false, false
	}
	if _, stands := p.in[key]; stands {
		return why, false, true
	}
	why, told = p.recent[key]
	return why, told, false
}
