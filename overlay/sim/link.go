package sim

import (
	"reflect"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// link is the session between two lives, by contract 4 of package overlay. It
// fits into one line of a processor's cache, as most of an event's time goes
// into waiting for memory.
type link struct {
	ends  [2]int32 // the dialer is the first
	stamp uint32
	state linkState
	dying bool // the ends are about to learn that it is dead
	ebbs  bool // an eventIdle is on its way
	hold  [2]bool
	want  [2]want         // Connects that are not answered yet
	told  [2]bool         // the end knows the session: it asked for it, or a frame named its overlay
	ready [2]overlay.Time // earliest arrival of the next message from each end
	busy  [2]overlay.Time // until when each end sends, with a bound on the rate
	used  overlay.Time
}

// direction is one end's side of a session.
type direction struct {
	link int32
	side uint8
}

type linkState uint8

const (
	linkFree linkState = iota
	linkDialing
	linkUp
	linkClosing // flushes, then closes
)

type want uint8

const (
	wantPeer    want = 1 << iota // a Connect by name
	wantContact                  // a Connect by address
)

// find is the session of a life with another, or -1.
func (w *World) find(at, to int32) int32 {
	for _, e := range w.lives[at].links {
		if e.to == to {
			return e.link
		}
	}
	return -1
}

func (k *link) side(at int32) uint8 {
	if k.ends[0] == at {
		return 0
	}
	return 1
}

func (w *World) newLink(from, to int32) int32 {
	var i int32
	if n := len(w.spare); n > 0 {
		i = w.spare[n-1]
		w.spare = w.spare[:n-1]
	} else {
		i = int32(len(w.links))
		w.links = append(w.links, link{})
	}
	w.stamp++
	w.links[i] = link{ends: [2]int32{from, to}, stamp: w.stamp, state: linkDialing}
	a, b := &w.lives[from], &w.lives[to]
	a.links = append(a.links, end{to, i, b.peer.Incarnation})
	b.links = append(b.links, end{from, i, a.peer.Incarnation})
	return i
}

// freeLink takes a session out of the tables of both ends.
func (w *World) freeLink(i int32) {
	k := &w.links[i]
	for _, at := range k.ends {
		l := &w.lives[at]
		for j, e := range l.links {
			if e.link == i {
				l.links = append(l.links[:j], l.links[j+1:]...)
				break
			}
		}
	}
	*k = link{}
	delete(w.kept, direction{i, 0})
	delete(w.kept, direction{i, 1})
	w.spare = append(w.spare, i)
}

// delay draws the time of a message between two lives.
func (w *World) delay(from, to int32) overlay.Time {
	if w.uniform {
		return overlay.Time(w.cfg.Link.Latency)
	}
	a, b := &w.lives[from], &w.lives[to]
	return overlay.Time(w.cfg.Link.delay(w.latency, a.host, b.host) + a.slow + b.slow)
}

// dial begins a session; the answer takes a round trip.
func (w *World) dial(from, to int32) int32 {
	i := w.newLink(from, to)
	w.totals.Dials++
	after := w.now + w.delay(from, to) + w.delay(to, from)
	w.schedule(after.Sub(w.now), event{kind: eventDialed, busy: true, life: from, link: i, stamp: w.links[i].stamp})
	return i
}

func (w *World) connect(at int32, p overlay.Peer) {
	bit := wantPeer
	if p.IsContact() {
		bit = wantContact
	}
	to, ok := w.resolve(p)
	why := messages.ReasonRefused
	if ok {
		why = w.reasonOf(at, to)
		if i := w.find(at, to); i >= 0 && at != to && w.links[i].state != linkClosing {
			k := &w.links[i]
			s := k.side(at)
			k.want[s] |= bit
			if k.state == linkUp {
				w.answer(i, s)
			}
			return
		}
	}
	if !ok || why != "" {
		// Nobody is there: the answer comes after a round trip all the same.
		w.totals.Dials++
		w.totals.Refused++
		after := 2 * w.cfg.Link.Latency
		if ok {
			after = (w.delay(at, to) + w.delay(to, at)).Sub(0)
			if w.cut(at, to) {
				why, after = messages.ReasonTimeout, w.cfg.Silent
			}
		}
		w.schedule(after, event{kind: eventFeed, busy: true, life: at, what: refused(p, why)})
		return
	}
	i := w.dial(at, to)
	w.links[i].want[0] = bit
}

// refused is the answer to a Connect that failed.
func refused(p overlay.Peer, why messages.Reason) overlay.LinkDown {
	down := overlay.LinkDown{Peer: p, Reason: why, Dial: true}
	if p.IsContact() {
		down.Contact = p.Addr
	}
	return down
}

// dialed ends a dial.
func (w *World) dialed(e event) {
	k := &w.links[e.link]
	if k.stamp != e.stamp || k.state != linkDialing {
		return
	}
	from, to := k.ends[0], k.ends[1]
	why := w.reasonOf(from, to)
	switch {
	case why != "":
	case w.cut(from, to) || w.lives[to].suspended:
		if e.side == 0 { // not yet timed out
			e.side = 1
			w.schedule(w.cfg.Silent, e)
			return
		}
		why = messages.ReasonTimeout
	}
	if why == "" {
		k.state, k.used = linkUp, w.now
		for s := range uint8(2) {
			w.answer(e.link, s)
		}
		w.flush(e.link)
		w.scheduleIdle(e.link)
		return
	}
	w.totals.Refused++
	for s := range uint8(2) {
		at, p := k.ends[s], w.lives[k.ends[1-s]].peer
		if k.want[s]&wantPeer != 0 {
			w.schedule(0, event{kind: eventFeed, busy: true, life: at, what: refused(p, why)})
		}
		if k.want[s]&wantContact != 0 {
			w.schedule(0, event{kind: eventFeed, busy: true, life: at, what: refused(overlay.Peer{Addr: p.Addr}, why)})
		}
	}
	w.freeLink(e.link)
}

// answer answers the Connects of one end of a session that is up.
func (w *World) answer(i int32, s uint8) {
	k := &w.links[i]
	if k.want[s] == 0 {
		return
	}
	k.hold[s], k.told[s] = true, true
	up := overlay.LinkUp{Peer: w.lives[k.ends[1-s]].peer, Generation: w.generation(k.ends[1-s]), Inbound: s == 1}
	if k.want[s]&wantPeer != 0 {
		w.schedule(0, event{kind: eventFeed, busy: true, life: k.ends[s], what: up})
	}
	if k.want[s]&wantContact != 0 {
		up.Contact = up.Peer.Addr
		w.schedule(0, event{kind: eventFeed, busy: true, life: k.ends[s], what: up})
	}
	k.want[s] = 0
}

func (w *World) generation(at int32) uint64 {
	if w.cfg.Generation == nil {
		return 1
	}
	return w.cfg.Generation(w.lives[at].machine)
}

func (w *World) disconnect(at int32, p overlay.Peer) {
	to, ok := w.resolve(p)
	if !ok {
		return
	}
	i := w.find(at, to)
	if i < 0 {
		return
	}
	k := &w.links[i]
	s := k.side(at)
	k.hold[s], k.want[s], k.told[s] = false, 0, false
	k.used = w.now
	if k.state == linkUp {
		w.scheduleIdle(i)
	}
}

// scheduleIdle looks at a session that nobody holds when it may have idled out.
func (w *World) scheduleIdle(i int32) {
	if k := &w.links[i]; !k.hold[0] && !k.hold[1] && !k.ebbs {
		k.ebbs = true
		w.schedule(w.cfg.Idle, event{kind: eventIdle, life: k.ends[0], link: i, stamp: k.stamp})
	}
}

func (w *World) idle(e event) {
	k := &w.links[e.link]
	if k.stamp != e.stamp {
		return
	}
	if k.ebbs = false; k.state != linkUp || k.hold[0] || k.hold[1] {
		return
	}
	if rest := k.used.Add(w.cfg.Idle).Sub(w.now); rest > 0 {
		k.ebbs = true
		w.schedule(rest, e)
		return
	}
	k.state = linkClosing
	until := max(k.ready[0], k.ready[1], w.now)
	w.schedule(until.Sub(w.now), event{kind: eventClosed, life: e.life, link: e.link, stamp: k.stamp})
}

func (w *World) closed(e event) {
	if k := &w.links[e.link]; k.stamp == e.stamp {
		w.freeLink(e.link)
	}
}

func (w *World) class(m proto.Message) Class {
	if w.cfg.Classify == nil {
		return Membership
	}
	return w.cfg.Classify(m)
}

func (w *World) send(at int32, p overlay.Peer, m proto.Message) {
	class := w.class(m)
	l := &w.lives[at]
	l.sent++
	w.totals.Sent[class]++
	for _, e := range l.links {
		if e.incarnation == p.Incarnation && w.links[e.link].state == linkUp {
			k := &w.links[e.link]
			w.transmit(e.link, k.side(at), m)
			return
		}
	}
	to, ok := w.resolve(p)
	if !ok || to == at {
		return
	}
	i := w.find(at, to)
	if i < 0 || w.links[i].state == linkClosing {
		if w.reasonOf(at, to) != "" {
			return
		}
		if i >= 0 {
			w.freeLink(i)
		}
		i = w.dial(at, to)
	}
	k := &w.links[i]
	if k.state == linkDialing {
		w.keep(direction{i, k.side(at)}, m)
		return
	}
	w.transmit(i, k.side(at), m)
}

// keep keeps a message until its session is up, or no longer cut.
func (w *World) keep(d direction, m proto.Message) { w.kept[d] = append(w.kept[d], m) }

// flush sends what was kept.
func (w *World) flush(i int32) {
	for s := range uint8(2) {
		d := direction{i, s}
		if kept := w.kept[d]; len(kept) > 0 {
			delete(w.kept, d)
			for _, m := range kept {
				w.transmit(i, s, m)
			}
		}
	}
}

// transmit puts a message on a session that is up.
func (w *World) transmit(i int32, s uint8, m proto.Message) {
	k := &w.links[i]
	from, to := k.ends[s], k.ends[1-s]
	k.used = w.now
	if w.lives[to].dead {
		if !k.dying {
			w.kill(i, (w.delay(from, to) + w.delay(to, from)), messages.ReasonReset)
		}
		return
	}
	if w.cut(from, to) {
		w.keep(direction{i, s}, m) // as TCP: it arrives if the cut ends in time
		return
	}
	if w.cfg.Link.Loss > 0 && w.loss.Float64() < w.cfg.Link.Loss {
		w.totals.Lost++
		return
	}
	start := w.now
	if w.cfg.Sizes || w.cfg.Link.bounded() {
		n := proto.Size(m)
		w.lives[from].bytes += uint64(n)
		w.totals.Bytes += uint64(n)
		if w.cfg.Link.bounded() {
			start = max(start, k.busy[s]).Add(w.cfg.Link.transfer(w.lives[from].host, w.lives[to].host, n))
			k.busy[s] = start
		}
	}
	k.ready[s] = max(k.ready[s], start+w.delay(from, to))
	w.busy++
	e := event{kind: eventMessage, busy: true, side: 1 - s, life: to, link: i, stamp: k.stamp, what: m}
	if w.uniform {
		w.queue.follow(k.ready[s], e)
	} else {
		w.queue.push(k.ready[s], e)
	}
}

func (w *World) arrive(e event) {
	k := &w.links[e.link]
	if k.stamp != e.stamp {
		return
	}
	if k.state != linkUp && k.state != linkClosing {
		return
	}
	from := &w.lives[k.ends[1-e.side]]
	peer := from.peer
	if !k.told[e.side] {
		k.told[e.side], k.hold[e.side] = true, true
		w.step(e.life, overlay.LinkUp{Peer: peer, Generation: w.generation(k.ends[1-e.side]), Inbound: true})
	}
	m := e.what.(proto.Message)
	class := w.class(m)
	w.totals.Received[class]++
	w.step(e.life, overlay.Received{From: peer, Msg: m})
}

// kill ends a session after some time, and those who hold it then learn why.
// What is on its way by then is lost.
func (w *World) kill(i int32, after overlay.Time, why messages.Reason) {
	k := &w.links[i]
	k.dying = true
	w.schedule(after.Sub(0), event{kind: eventDown, busy: after.Sub(0) < w.cfg.Quiet, life: k.ends[0], link: i, stamp: k.stamp, what: overlay.LinkDown{Reason: why}})
}

func (w *World) died(e event) {
	k := &w.links[e.link]
	if k.stamp != e.stamp {
		return
	}
	ends, hold, down := k.ends, k.hold, e.what.(overlay.LinkDown)
	w.freeLink(e.link)
	for s := range 2 {
		if down.Peer = w.lives[ends[1-s]].peer; hold[s] {
			w.schedule(0, event{kind: eventFeed, busy: true, life: ends[s], what: down})
		}
	}
}

// typeOf is a number for the type of an event or, if it is a message, of that.
func (w *World) typeOf(ev overlay.Event) uint64 {
	t := reflect.TypeOf(ev)
	if r, ok := ev.(overlay.Received); ok {
		t = reflect.TypeOf(r.Msg)
	}
	n, ok := w.types[t]
	if !ok {
		n = uint64(len(w.types)+1) * fnvPrime
		w.types[t] = n
	}
	return n
}
