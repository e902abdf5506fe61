package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// watches is the watch keeper: both ends of watches between nodes. The end at
// the watcher promises exactly one Terminated per watch; the end at the
// watchee says it when an actor stops. Both are cleared when the other node is
// gone. What a link loses is made good by a sync when it comes back.
//
// Its lock is held for map operations only. Watch, Unwatch and Terminated
// travel on the data channel in their target's flow, so that they keep their
// place among the messages.
type watches struct {
	d  *Distribution
	mu sync.Mutex
	// out: watches of local actors on remote ones.
	out map[overlayLife]map[watchKey]*actor.PID // the PID given to Watch
	// in: watches of remote actors on local ones.
	in map[overlayLife]map[watchKey]bool
	// recent: ends that were told, in case the telling was lost with a link.
	recent  map[overlayLife]map[watchKey]actor.TerminatedReason
	stopped bool
}

type overlayLife struct {
	name        string
	incarnation overlay.Incarnation
}

type watchKey struct{ watcher, watchee string }

// maxRecent bounds the ends remembered per node.
const maxRecent = 4096

func newWatches(d *Distribution) *watches {
	return &watches{d: d, out: make(map[overlayLife]map[watchKey]*actor.PID), in: make(map[overlayLife]map[watchKey]bool), recent: make(map[overlayLife]map[watchKey]actor.TerminatedReason)}
}

func lifeOf(p overlay.Peer) overlayLife { return overlayLife{p.Name, p.Incarnation} }

// watch: a local actor watches a remote one.
func (w *watches) watch(p *process, who, watcher *actor.PID) {
	s, _ := p.session()
	if s != nil {
		k, life := watchKey{watcher.Id, who.Id}, lifeOf(s.Peer())
		w.mu.Lock()
		ok := !w.stopped && !s.Ended()
		if ok {
			if w.out[life] == nil {
				w.out[life] = make(map[watchKey]*actor.PID)
			}
			w.out[life][k] = who
		}
		w.mu.Unlock()
		if ok {
			if s.Send(&channelmgr.Outgoing{Target: who.Id, Msg: &actor.Watch{Watcher: &actor.PID{Id: watcher.Id}}, System: true, NoBlock: true}) == nil {
				return
			}
			if !s.Ended() {
				return // made good by the next sync
			}
			w.mu.Lock()
			_, still := w.out[life][k]
			delete(w.out[life], k)
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
	k, life := watchKey{watcher.Id, who.Id}, lifeOf(s.Peer())
	w.mu.Lock()
	_, have := w.out[life][k]
	delete(w.out[life], k)
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
	k, life := watchKey{watcher.Id, m.Who.Id}, lifeOf(s.Peer())
	w.mu.Lock()
	_, have := w.in[life][k]
	delete(w.in[life], k)
	if have {
		w.remember(life, k, m.Why)
	}
	w.mu.Unlock()
	if have {
		w.send(s, k, m.Why)
	}
}

// remember keeps an end for a sync. mu is held.
func (w *watches) remember(life overlayLife, k watchKey, why actor.TerminatedReason) {
	r := w.recent[life]
	if r == nil {
		r = make(map[watchKey]actor.TerminatedReason)
		w.recent[life] = r
	}
	if len(r) >= maxRecent {
		for old := range r { // any: a sync that is so late takes it for not found
			delete(r, old)
			break
		}
	}
	r[k] = why
}

// send tells a remote watcher.
func (w *watches) send(s *channelmgr.Session, k watchKey, why actor.TerminatedReason) {
	_ = s.Send(&channelmgr.Outgoing{
		Target: k.watcher, Msg: &actor.Terminated{Who: &actor.PID{Address: w.d.address, Id: k.watchee}, Why: why}, System: true, NoBlock: true,
	})
}

// watchedBy: a remote actor watches a local one.
func (w *watches) watchedBy(s *channelmgr.Session, watcher string, e *target, pid *actor.PID) {
	k, life := watchKey{watcher, pid.Id}, lifeOf(s.Peer())
	if e.ap == nil {
		w.send(s, k, actor.TerminatedReason_NotFound)
		return
	}
	w.mu.Lock()
	if w.in[life] == nil {
		w.in[life] = make(map[watchKey]bool)
	}
	w.in[life][k] = true
	delete(w.recent[life], k)
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
	_, have := w.in[lifeOf(s.Peer())][watchKey{watcher, pid.Id}]
	delete(w.in[lifeOf(s.Peer())], watchKey{watcher, pid.Id})
	w.mu.Unlock()
	if have && e.ap != nil {
		e.ap.SendSystemMessage(pid, &actor.Unwatch{Watcher: &actor.PID{Address: channelmgr.PIDAddress(s.Peer()), Id: watcher}})
	}
}

// ended: a remote node says that an actor of its own has stopped. Only a watch
// that stands in our table is ended by that.
func (w *watches) ended(s *channelmgr.Session, watcher, watchee string, why actor.TerminatedReason) {
	k, life := watchKey{watcher, watchee}, lifeOf(s.Peer())
	w.mu.Lock()
	who, have := w.out[life][k]
	delete(w.out[life], k)
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
	life := lifeOf(p)
	w.mu.Lock()
	out, in := w.out[life], w.in[life]
	delete(w.out, life)
	delete(w.in, life)
	delete(w.recent, life)
	w.mu.Unlock()
	for k, who := range out {
		w.tell(&actor.PID{Address: w.d.address, Id: k.watcher}, who, actor.TerminatedReason_AddressTerminated)
	}
	for k := range in {
		if proc, ok := w.d.system.ProcessRegistry.GetLocal(k.watchee); ok {
			proc.SendSystemMessage(&actor.PID{Address: w.d.address, Id: k.watchee}, &actor.Unwatch{Watcher: &actor.PID{Address: channelmgr.PIDAddress(p), Id: k.watcher}})
		}
	}
}

// stop ends the keeper: watches of remote actors end with it.
func (w *watches) stop() {
	w.mu.Lock()
	w.stopped = true
	var lives []overlayLife
	for life := range w.out {
		lives = append(lives, life)
	}
	w.mu.Unlock()
	for _, life := range lives {
		w.gone(overlay.Peer{Name: life.name, Incarnation: life.incarnation})
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
	var all []*messages.WatchEntry
	for k := range w.out[lifeOf(p)] {
		all = append(all, &messages.WatchEntry{Watcher: k.watcher, Watchee: k.watchee})
	}
	w.mu.Unlock()
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
		k := watchKey{e.GetWatcher(), e.GetWatchee()}
		w.mu.Lock()
		stands := w.in[life][k]
		why, told := w.recent[life][k]
		w.mu.Unlock()
		switch {
		case stands || k.watcher == "" || forbidden(k.watchee):
		case told:
			w.send(s, k, why)
		default:
			var t channelmgr.Target
			t.ID = k.watchee
			found := r.find(&t)
			w.watchedBy(s, k.watcher, found, found.pid)
		}
	}
}
