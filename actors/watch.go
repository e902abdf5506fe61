package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/actors/watch"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// watches is the watch keeper: both ends of watches between nodes. The end at
// the watcher promises exactly one Terminated per watch; the end at the
// watchee says it when an actor stops. Both are cleared when the other node is
// gone. What a link loses is made good by a sync when it comes back. What
// stands is in a watch.Keeper, which decides; here is what sends and posts.
//
// The lock is held for the book only. Watch, Unwatch and Terminated travel on
// the data channel in their target's flow, so that they keep their place among
// the messages.
type watches struct {
	d    *Distribution
	mu   sync.Mutex
	book *watch.Keeper[*actor.PID, actor.TerminatedReason] // the PID given to Watch
}

func newWatches(d *Distribution) *watches {
	return &watches{d: d, book: watch.New[*actor.PID, actor.TerminatedReason]()}
}

func lifeOf(p overlay.Peer) watch.Life { return p.Life() }

// watch: a local actor watches a remote one.
func (w *watches) watch(p *process, who, watcher *actor.PID) {
	s, _ := p.session()
	if s != nil {
		k, life := watch.Key{Watcher: watcher.Id, Watchee: who.Id}, lifeOf(s.Peer())
		w.mu.Lock()
		ok := !s.Ended() && w.book.Watch(life, k, who)
		w.mu.Unlock()
		if ok {
			if s.Send(&channelmgr.Outgoing{Target: who.Id, Msg: &actor.Watch{Watcher: &actor.PID{Id: watcher.Id}}, System: true, NoBlock: true}) == nil {
				return
			}
			if !s.Ended() {
				return // made good by the next sync
			}
			w.mu.Lock()
			still := w.book.Unwatch(life, k)
			w.mu.Unlock()
			if !still {
				return // told by gone
			}
		}
	}
	w.tell(watcher, who, actor.TerminatedReason_AddressTerminated)
}

// tell posts a Terminated to a local watcher.
func (w *watches) tell(watcher, who *actor.PID, why actor.TerminatedReason) {
	if proc, ok := w.d.system.ProcessRegistry.GetLocal(watcher.Id); ok {
		proc.SendSystemMessage(watcher, &actor.Terminated{Who: who, Why: why})
	}
}

// unwatch: a local actor has lost interest.
func (w *watches) unwatch(p *process, who, watcher *actor.PID) {
	s, _ := p.session()
	if s == nil {
		return
	}
	w.mu.Lock()
	have := w.book.Unwatch(lifeOf(s.Peer()), watch.Key{Watcher: watcher.Id, Watchee: who.Id})
	w.mu.Unlock()
	if have {
		_ = s.Send(&channelmgr.Outgoing{Target: who.Id, Msg: &actor.Unwatch{Watcher: &actor.PID{Id: watcher.Id}}, System: true, NoBlock: true})
	}
}

// terminated: a local actor that a remote one watches has stopped.
func (w *watches) terminated(p *process, watcher *actor.PID, m *actor.Terminated) {
	s, _ := p.session()
	if s == nil || m.Who == nil {
		return
	}
	k := watch.Key{Watcher: watcher.Id, Watchee: m.Who.Id}
	w.mu.Lock()
	have := w.book.Terminated(lifeOf(s.Peer()), k, m.Why)
	w.mu.Unlock()
	if have {
		w.send(s, k, m.Why)
	}
}

// send tells a remote watcher.
func (w *watches) send(s *channelmgr.Session, k watch.Key, why actor.TerminatedReason) {
	_ = s.Send(&channelmgr.Outgoing{
		Target: k.Watcher, Msg: &actor.Terminated{Who: &actor.PID{Address: w.d.address, Id: k.Watchee}, Why: why}, System: true, NoBlock: true,
	})
}

// watchedBy: a remote actor watches a local one.
func (w *watches) watchedBy(s *channelmgr.Session, watcher string, e *target, pid *actor.PID) {
	k := watch.Key{Watcher: watcher, Watchee: pid.Id}
	if e.ap == nil {
		w.send(s, k, actor.TerminatedReason_NotFound)
		return
	}
	w.mu.Lock()
	w.book.WatchedBy(lifeOf(s.Peer()), k)
	w.mu.Unlock()
	e.ap.SendSystemMessage(pid, &actor.Watch{Watcher: &actor.PID{Address: channelmgr.PIDAddress(s.Peer()), Id: watcher}})
	if dead(e.ap) {
		// It may have stopped before it saw the Watch: then nobody will tell.
		if _, alive := w.d.system.ProcessRegistry.GetLocal(pid.Id); !alive {
			w.terminated(w.d.process(channelmgr.PIDAddress(s.Peer())), &actor.PID{Id: watcher}, &actor.Terminated{Who: pid, Why: actor.TerminatedReason_Stopped})
		}
	}
}

// unwatchedBy: a remote actor has lost interest.
func (w *watches) unwatchedBy(s *channelmgr.Session, watcher string, e *target, pid *actor.PID) {
	w.mu.Lock()
	have := w.book.UnwatchedBy(lifeOf(s.Peer()), watch.Key{Watcher: watcher, Watchee: pid.Id})
	w.mu.Unlock()
	if have && e.ap != nil {
		e.ap.SendSystemMessage(pid, &actor.Unwatch{Watcher: &actor.PID{Address: channelmgr.PIDAddress(s.Peer()), Id: watcher}})
	}
}

// ended: a remote node says that an actor of its own has stopped. Only a watch
// that stands in our table is ended by that.
func (w *watches) ended(s *channelmgr.Session, watcher, watchee string, why actor.TerminatedReason) {
	w.mu.Lock()
	who, have := w.book.Ended(lifeOf(s.Peer()), watch.Key{Watcher: watcher, Watchee: watchee})
	w.mu.Unlock()
	if !have {
		w.d.counts.add("terminated_unmatched")
		return
	}
	if why != actor.TerminatedReason_NotFound {
		why = actor.TerminatedReason_Stopped
	}
	w.tell(&actor.PID{Address: w.d.address, Id: watcher}, who, why)
}

// gone: a life of a node is over.
func (w *watches) gone(p overlay.Peer) {
	w.mu.Lock()
	out, in := w.book.Gone(lifeOf(p))
	w.mu.Unlock()
	for _, e := range out {
		w.tell(&actor.PID{Address: w.d.address, Id: e.Key.Watcher}, e.Of, actor.TerminatedReason_AddressTerminated)
	}
	for _, k := range in {
		if proc, ok := w.d.system.ProcessRegistry.GetLocal(k.Watchee); ok {
			proc.SendSystemMessage(&actor.PID{Address: w.d.address, Id: k.Watchee}, &actor.Unwatch{Watcher: &actor.PID{Address: channelmgr.PIDAddress(p), Id: k.Watcher}})
		}
	}
}

// stop ends the keeper: watches of remote actors end with it.
func (w *watches) stop() {
	w.mu.Lock()
	lives := w.book.Stop()
	w.mu.Unlock()
	for _, l := range lives {
		w.gone(overlay.Peer{Name: l.Name, Incarnation: l.Incarnation})
	}
}

// syncPage is how many watches one WatchSync carries.
const syncPage = 500

// linked: a link to a peer is up. Watches may have been lost with the one
// before, so all that stand are told again.
func (w *watches) linked(p overlay.Peer) {
	s := w.d.registry.Session(p.Name)
	if s == nil || !s.Peer().Same(p) {
		return
	}
	w.mu.Lock()
	standing := w.book.Standing(lifeOf(p))
	w.mu.Unlock()
	var all []*messages.WatchEntry
	for _, k := range standing {
		all = append(all, &messages.WatchEntry{Watcher: k.Watcher, Watchee: k.Watchee})
	}
	for len(all) > 0 {
		n := min(len(all), syncPage)
		_ = s.SendControl(&messages.WatchSync{Watches: all[:n]})
		all = all[n:]
	}
}

// sync takes the watches that stand at a peer.
func (w *watches) sync(s *channelmgr.Session, m *messages.WatchSync) {
	r := receiver{w.d}
	life := lifeOf(s.Peer())
	for _, e := range m.GetWatches() {
		k := watch.Key{Watcher: e.GetWatcher(), Watchee: e.GetWatchee()}
		w.mu.Lock()
		why, told, known := w.book.Sync(life, k)
		w.mu.Unlock()
		switch {
		case known || k.Watcher == "" || forbidden(k.Watchee):
		case told:
			w.send(s, k, why)
		default:
			var t channelmgr.Target
			t.ID = k.Watchee
			found := r.find(&t)
			w.watchedBy(s, k.Watcher, found, found.pid)
		}
	}
}
