package sim

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// World is a network of nodes in virtual time. Nodes are known by index, in
// the order in which they were added. It is used by one goroutine.
type World struct {
	cfg   Config
	now   overlay.Time
	queue queue
	busy  int // events of work in progress
	stamp uint32
	out   overlay.Effects

	hosts   []int32 // the current life of each node
	lives   []life
	links   []link
	spare   []int32 // free sessions
	kept    map[direction][]proto.Message
	cuts    map[[2]int32]bool
	parts   bool // some nodes are in another part of the network
	uniform bool // all messages take the same time

	latency, loss, chance, incarnations *rand.Rand

	hash   uint64
	events uint64
	types  map[reflect.Type]uint64
	totals Totals
	bcast  broadcasts
	err    error
}

// life is one life of a node and what its driver knows.
type life struct {
	host      int32
	past      int32 // the life before, or -1
	part      int32 // of the network, while it is partitioned
	dead      bool
	suspended bool
	machine   overlay.Machine
	links     []end
	peer      overlay.Peer
	timers    []timer
	neighbors []int32 // lives, in the order in which they came
	slow      time.Duration
	sent      uint64       // messages
	bytes     uint64       // sent, with Config.Sizes
	since     overlay.Time // of the suspension
	waiting   []event      // while suspended
}

// end is a life's end of a session.
type end struct {
	to, link    int32
	incarnation overlay.Incarnation // of to: what is searched for each message
}

type timer struct {
	key   overlay.Timer
	stamp uint32
	busy  bool
}

// Totals are counts since the world began.
type Totals struct {
	Sent     [classes]uint64 // messages, by class
	Received [classes]uint64
	Bytes    uint64 // sent, with Config.Sizes
	Lost     uint64 // by chance
	Rejected uint64
	Dials    uint64
	Refused  uint64 // dials that failed
}

// New makes a world without nodes.
func New(cfg Config) (*World, error) {
	if cfg.Factory == nil {
		return nil, errors.New("sim: Config.Factory is missing")
	}
	if err := cfg.Link.Validate(); err != nil {
		return nil, err
	}
	cfg.Silent = cmp.Or(cfg.Silent, 3*time.Second)
	cfg.Idle = cmp.Or(cfg.Idle, 5*time.Second)
	cfg.Quiet = cmp.Or(cfg.Quiet, time.Second)
	w := &World{cfg: cfg, cuts: make(map[[2]int32]bool), kept: make(map[direction][]proto.Message), types: make(map[reflect.Type]uint64), hash: fnvOffset}
	w.latency, w.loss, w.chance = w.Stream("latency"), w.Stream("loss"), w.Stream("faults")
	w.incarnations = w.Stream("incarnations")
	w.uniform = cfg.Link.Jitter == 0 && cfg.Link.Sigma == 0 && len(cfg.Link.Regions) == 0
	return w, nil
}

// Stream returns dice of their own for one purpose: what one purpose draws
// changes no other.
func (w *World) Stream(purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(w.cfg.Seed, h.Sum64()))
}

// Now is the virtual time.
func (w *World) Now() overlay.Time { return w.now }

// Events is how many events have happened.
func (w *World) Events() uint64 { return w.events }

// Hash is the trace hash: it depends on each event so far, its time, its nodes
// and its kind or message type.
func (w *World) Hash() uint64 { return w.hash }

// Totals are the counts so far.
func (w *World) Totals() Totals { return w.totals }

// Err is the first broken invariant, with Config.Check, or nil.
func (w *World) Err() error { return w.err }

// Len is the number of nodes ever added.
func (w *World) Len() int { return len(w.hosts) }

// Peer is the current or last life of a node.
func (w *World) Peer(i int) overlay.Peer { return w.life(i).peer }

// Contact is a node's address, as a seed list has it.
func (w *World) Contact(i int) overlay.Peer { return overlay.Peer{Addr: w.life(i).peer.Addr} }

// Machine is that of a node's current or last life.
func (w *World) Machine(i int) overlay.Machine { return w.life(i).machine }

// Alive reports whether a node lives.
func (w *World) Alive(i int) bool { return !w.life(i).dead }

// Live lists the nodes that live.
func (w *World) Live() []int {
	var list []int
	for i := range w.hosts {
		if w.Alive(i) {
			list = append(list, i)
		}
	}
	return list
}

// Sent is how many messages and, with Config.Sizes, bytes the current life of
// a node has sent.
func (w *World) Sent(i int) (messages, bytes uint64) {
	return w.life(i).sent, w.life(i).bytes
}

// Index finds the node of a name.
func (w *World) Index(name string) (int, bool) {
	i, ok := hostOf(name)
	return int(i), ok && int(i) < len(w.hosts)
}

func (w *World) life(i int) *life { return &w.lives[w.hosts[i]] }

// hostOf reads the index out of a name: no table to search, for the millions of
// messages that name their target.
func hostOf(name string) (int32, bool) {
	if len(name) < 2 || len(name) > 9 || name[0] != 'n' {
		return 0, false
	}
	n := int32(0)
	for _, c := range []byte(name[1:]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int32(c-'0')
	}
	return n, true
}

// Add starts a node and returns its index. Its name and address are "n" and
// the index.
func (w *World) Add() int {
	i := len(w.hosts)
	w.hosts = append(w.hosts, -1)
	w.begin(i)
	return i
}

// begin begins a life of a node.
func (w *World) begin(i int) {
	name := "n" + strconv.Itoa(i)
	self := overlay.Peer{Name: name, Addr: name, Incarnation: overlay.Incarnation(w.incarnations.Uint64() | 1)}
	at, past := int32(len(w.lives)), w.hosts[i]
	w.hosts[i] = at
	rng := rand.New(rand.NewPCG(w.cfg.Seed^0x6d617175, uint64(self.Incarnation)))
	l := life{peer: self, host: int32(i), past: past, machine: w.cfg.Factory(self, rng)}
	if past >= 0 {
		l.part, l.slow = w.lives[past].part, w.lives[past].slow
	}
	w.lives = append(w.lives, l)
	w.step(at, overlay.Start{})
}

// Feed gives a node's machine an event, now.
func (w *World) Feed(i int, ev overlay.Event) {
	w.schedule(0, event{kind: eventFeed, busy: true, life: w.hosts[i], what: ev})
}

// Join asks a node to join through others.
func (w *World) Join(i int, through ...int) {
	contacts := make([]overlay.Peer, len(through))
	for k, t := range through {
		contacts[k] = w.Contact(t)
	}
	w.Feed(i, overlay.Join{Contacts: contacts})
}

// After calls a function when so much time has passed.
func (w *World) After(d time.Duration, call func()) {
	w.schedule(d, event{kind: eventCall, what: call})
}

func (w *World) schedule(after time.Duration, e event) {
	if e.busy {
		w.busy++
	}
	w.queue.push(w.now.Add(after), e)
}

// Run lets time pass.
func (w *World) Run(d time.Duration) {
	end := w.now.Add(d)
	for at, ok := w.queue.next(); ok && at <= end && w.err == nil; at, ok = w.queue.next() {
		w.next()
	}
	w.now = end
}

// Settle lets time pass until no message, dial or short timer is on its way, at
// most for so long; it reports whether that was reached.
func (w *World) Settle(limit time.Duration) bool {
	end := w.now.Add(limit)
	for at, ok := w.queue.next(); ok && at <= end && w.err == nil && w.busy > 0; at, ok = w.queue.next() {
		w.next()
	}
	return w.busy == 0
}

// Until lets time pass until a condition holds, which is looked at each time
// that so much has passed, at most for limit; it reports whether it holds.
func (w *World) Until(limit, each time.Duration, cond func() bool) bool {
	for end := w.now.Add(limit); ; w.Run(min(each, end.Sub(w.now))) {
		if cond() {
			return true
		}
		if w.now >= end || w.err != nil {
			return false
		}
	}
}

// next executes the earliest event.
func (w *World) next() {
	at, e := w.queue.pop()
	w.now = at
	if e.kind == eventTimer {
		if i := w.timer(&w.lives[e.life], e.stamp); i < 0 {
			return // replaced or cancelled
		}
	}
	if e.busy {
		w.busy--
	}
	if e.kind == eventCall {
		e.what.(func())()
		return
	}
	l := &w.lives[e.life]
	if l.suspended && !l.dead && e.kind <= eventDialed {
		l.waiting = append(l.waiting, e)
		return
	}
	w.events++
	w.happen(l, e)
}

func (w *World) happen(l *life, e event) {
	switch e.kind {
	case eventMessage:
		w.arrive(e)
	case eventTimer:
		i := w.timer(l, e.stamp)
		if i < 0 {
			return // cancelled while the life was suspended
		}
		key := l.timers[i].key
		last := len(l.timers) - 1
		l.timers[i] = l.timers[last]
		l.timers[last] = timer{}
		l.timers = l.timers[:last]
		w.step(e.life, overlay.Fired{Timer: key})
	case eventFeed:
		w.step(e.life, e.what.(overlay.Event))
	case eventDialed:
		w.dialed(e)
	case eventDown:
		w.died(e)
	case eventClosed:
		w.closed(e)
	case eventIdle:
		w.idle(e)
	}
}

func (w *World) timer(l *life, stamp uint32) int {
	for i := range l.timers {
		if l.timers[i].stamp == stamp {
			return i
		}
	}
	return -1
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func (w *World) mix(x uint64) { w.hash = (w.hash ^ x) * fnvPrime }

// step gives a life's machine an event and executes its effects.
func (w *World) step(at int32, ev overlay.Event) {
	l := &w.lives[at]
	if l.dead {
		return
	}
	w.mix(uint64(w.now))
	w.mix(uint64(at)<<32 ^ w.typeOf(ev))
	w.out.Reset()
	l.machine.Step(w.now, ev, &w.out)
	if w.cfg.Check && w.err == nil {
		if c, ok := l.machine.(overlay.Checker); ok {
			if err := c.Check(); err != nil {
				w.err = fmt.Errorf("sim: %s at %v after %T: %w", l.peer, w.now, ev, err)
			}
		}
	}
	for i := range w.out.All() {
		w.execute(at, &w.out.All()[i])
	}
}

func (w *World) execute(at int32, e *overlay.Effect) {
	l := &w.lives[at]
	switch e.Kind {
	case overlay.EffectSend:
		w.send(at, e.Peer, e.Msg)
	case overlay.EffectConnect:
		w.connect(at, e.Peer)
	case overlay.EffectDisconnect:
		w.disconnect(at, e.Peer)
	case overlay.EffectSetTimer:
		w.cancel(l, e.Timer)
		w.stamp++
		busy := e.After < w.cfg.Quiet
		l.timers = append(l.timers, timer{e.Timer, w.stamp, busy})
		w.schedule(e.After+l.slow, event{kind: eventTimer, busy: busy, life: at, stamp: w.stamp})
	case overlay.EffectCancelTimer:
		w.cancel(l, e.Timer)
	case overlay.EffectMeasure:
		w.measure(at, e.Peer)
	case overlay.EffectReject:
		w.totals.Rejected++
	case overlay.EffectNotify:
		w.notice(at, e.Notice)
	}
}

func (w *World) cancel(l *life, key overlay.Timer) {
	for i := range l.timers {
		if l.timers[i].key == key {
			if l.timers[i].busy {
				w.busy--
			}
			last := len(l.timers) - 1
			l.timers[i] = l.timers[last]
			l.timers[last] = timer{}
			l.timers = l.timers[:last]
			return
		}
	}
}

func (w *World) notice(at int32, notice any) {
	l := &w.lives[at]
	switch n := notice.(type) {
	case overlay.NeighborUp:
		w.neighbor(l, n.Peer, true)
	case overlay.NeighborDown:
		w.neighbor(l, n.Peer, false)
	case overlay.Delivered:
		w.delivered(at, n)
	case overlay.Carry:
		w.send(at, n.To, n.Msg)
	}
	if w.cfg.Notify != nil {
		w.cfg.Notify(w, int(l.host), notice)
	}
}

func (w *World) neighbor(l *life, p overlay.Peer, up bool) {
	to, ok := w.resolve(p)
	if !ok {
		return
	}
	for i, n := range l.neighbors {
		if n == to {
			if !up {
				l.neighbors = append(l.neighbors[:i], l.neighbors[i+1:]...)
			}
			return
		}
	}
	if up {
		l.neighbors = append(l.neighbors, to)
	}
}

// measure answers with the round trip, without chance.
func (w *World) measure(at int32, p overlay.Peer) {
	to, ok := w.resolve(p)
	if !ok || w.lives[to].dead || w.cut(at, to) {
		return
	}
	a, b := w.lives[at].host, w.lives[to].host
	cost := w.cfg.Link.base(a, b) + w.cfg.Link.base(b, a)
	w.schedule(cost, event{kind: eventFeed, busy: true, life: at, what: overlay.Measured{Peer: p, Cost: cost}})
}

// resolve finds the life that a peer names; a contact is the current one.
func (w *World) resolve(p overlay.Peer) (int32, bool) {
	name := p.Name
	if p.IsContact() {
		name = p.Addr
	}
	host, ok := hostOf(name)
	if !ok || int(host) >= len(w.hosts) {
		return 0, false
	}
	for at := w.hosts[host]; at >= 0; at = w.lives[at].past {
		if p.IsContact() || w.lives[at].peer.Incarnation == p.Incarnation {
			return at, true
		}
	}
	return 0, false
}

// reasonOf is why a dial to a life fails, or "".
func (w *World) reasonOf(from, to int32) messages.Reason {
	switch l := &w.lives[to]; {
	case from == to:
		return messages.ReasonSelf
	case w.hosts[l.host] != to:
		if now := &w.lives[w.hosts[l.host]]; now.dead {
			return messages.ReasonRefused
		}
		return messages.ReasonWrongName
	case l.dead:
		return messages.ReasonRefused
	}
	return ""
}
