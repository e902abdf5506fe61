package overlaytest

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Instance is one machine of a node under the name that its frames carry.
type Instance struct {
	Name    string
	Machine overlay.Machine
}

// Node is what a factory makes: the machines of one life of a node, and how
// they hang together there.
type Node struct {
	Machines []Instance
	// Notify is called for each notification, in order; it may feed machines of
	// this life and end sessions through d.
	Notify func(d *Life, instance string, notice any)
	// Admit is the rule for peers that shake hands; nil admits all.
	Admit func(peer overlay.Peer, generation uint64, linkAlive bool) (messages.Reason, uint64)
	// Generation is what handshakes say; nil means 1.
	Generation func() uint64
}

// Factory makes a life of a node.
type Factory func(self overlay.Peer, rng *rand.Rand) *Node

// Config of a World.
type Config struct {
	Seed    uint64
	Factory Factory
	// Latency is that of a message; 0 means 1 ms. Jitter is added at random.
	Latency, Jitter time.Duration
	// Cost is what the machine of a host is told of a link; nil: the latency.
	Cost func(from, to string) time.Duration
	// Loss is the part of messages that vanish on links that stay up.
	Loss float64
	// Silent is how long a link may carry nothing before it is down, and how
	// long a dial to a silent host takes to fail; 0 means 3 s.
	Silent time.Duration
	// Trace takes each line of the trace; nil: none.
	Trace func(line string)
	// Describe and Notice describe messages and notifications; nil: defaults.
	Describe func(proto.Message) string
	Notice   func(any) string
}

// World is a network of nodes in virtual time. Nothing in it depends on the
// clock, on map order or on goroutines.
type World struct {
	cfg   Config
	now   overlay.Time
	queue events
	seq   uint64
	rng   *rand.Rand
	hosts []*host // in the order in which they were first started
	cuts  map[[2]string]bool
	links []*session
	lives uint64
	made  int
}

// host is an address with a name; its lives come and go.
type host struct {
	name, addr string
	life       *Life
	last       overlay.Peer // of its latest life
}

type event struct {
	at  overlay.Time
	seq uint64
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// NewWorld makes a world without nodes.
func NewWorld(cfg Config) *World {
	if cfg.Latency == 0 {
		cfg.Latency = time.Millisecond
	}
	if cfg.Silent == 0 {
		cfg.Silent = 3 * time.Second
	}
	return &World{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 1)), cuts: make(map[[2]string]bool)}
}

// Now is the virtual time.
func (w *World) Now() overlay.Time { return w.now }

func (w *World) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now.Add(d), w.seq, do})
}

func (w *World) delay() time.Duration {
	d := w.cfg.Latency
	if w.cfg.Jitter > 0 {
		d += time.Duration(w.rng.Int64N(int64(w.cfg.Jitter)))
	}
	return d
}

// Advance lets time pass.
func (w *World) Advance(d time.Duration) {
	end := w.now.Add(d)
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// Until lets time pass until a condition holds, checked every 10 ms, or a
// limit is reached; it reports whether the condition holds.
func (w *World) Until(limit time.Duration, cond func() bool) bool {
	for end := w.now.Add(limit); ; w.Advance(10 * time.Millisecond) {
		if cond() {
			return true
		}
		if w.now >= end {
			return false
		}
	}
}

// Start begins a life of a node. The address is name:1.
func (w *World) Start(name string) *Life {
	h := w.host(name)
	if h == nil {
		h = &host{name: name, addr: name + ":1"}
		w.hosts = append(w.hosts, h)
	}
	if h.life != nil {
		panic("overlaytest: " + name + " runs already")
	}
	return w.begin(h, overlay.Peer{Name: name, Addr: h.addr})
}

// StartAs begins a life of a node at an address of its own, under a name that
// another may have.
func (w *World) StartAs(id, name string) *Life {
	h := w.host(id)
	if h == nil {
		h = &host{name: id, addr: id + ":1"}
		w.hosts = append(w.hosts, h)
	}
	return w.begin(h, overlay.Peer{Name: name, Addr: h.addr})
}

func (w *World) begin(h *host, self overlay.Peer) *Life {
	w.lives++
	self.Incarnation = overlay.Incarnation(w.lives)
	l := &Life{w: w, id: h.name, peer: self, timers: make(map[timerKey]uint64)}
	h.life, h.last = l, self
	l.node = w.cfg.Factory(self, rand.New(rand.NewPCG(w.cfg.Seed, 1000+w.lives)))
	for i := range l.node.Machines {
		inst := &l.node.Machines[i]
		inst.Machine = &Recorder{Name: h.name, Machine: inst.Machine, Describe: w.cfg.Describe, Notice: w.cfg.Notice, Lines: w.cfg.Trace}
	}
	for _, inst := range l.node.Machines {
		l.Feed(inst.Name, overlay.Start{})
	}
	return l
}

func (w *World) host(id string) *host {
	i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == id })
	if i < 0 {
		return nil
	}
	return w.hosts[i]
}

// Life returns the running life at a host, or nil.
func (w *World) Life(id string) *Life {
	if h := w.host(id); h != nil {
		return h.life
	}
	return nil
}

// Lives returns all running lives in the order in which their hosts came.
func (w *World) Lives() []*Life {
	var list []*Life
	for _, h := range w.hosts {
		if h.life != nil {
			list = append(list, h.life)
		}
	}
	return list
}

// Crash kills a life: its sessions break at once, its address refuses.
func (w *World) Crash(id string) {
	h := w.host(id)
	l := h.life
	h.life, l.dead = nil, true
	for _, s := range w.sessionsOf(l) {
		w.breakSession(s, messages.ReasonReset)
	}
}

// Stop suspends a life: it does nothing, though its kernel still accepts.
func (w *World) Stop(id string) {
	l := w.Life(id)
	l.stopped, l.stoppedAt = true, w.now
	for _, s := range w.sessionsOf(l) {
		w.silence(s)
	}
}

// Continue ends Stop: the machines are told of the gap, then get what came
// meanwhile.
func (w *World) Continue(id string) {
	l := w.Life(id)
	l.stopped = false
	gap := w.now.Sub(l.stoppedAt)
	if gap >= time.Second {
		for _, inst := range l.node.Machines {
			l.Feed(inst.Name, overlay.Resumed{Gap: gap})
		}
	}
	missed := l.missed
	l.missed = nil
	for _, do := range missed {
		l.do(do)
	}
}

// Cut drops everything between two hosts, or ends that. Links over the cut
// fall silent.
func (w *World) Cut(a, b string, on bool) {
	if a > b {
		a, b = b, a
	}
	if !on {
		delete(w.cuts, [2]string{a, b})
		return
	}
	w.cuts[[2]string{a, b}] = true
	for _, s := range slices.Clone(w.links) {
		if s.up && w.isCut(s.a.id, s.b.id) {
			w.silence(s)
		}
	}
}

func (w *World) isCut(a, b string) bool {
	if a > b {
		a, b = b, a
	}
	return w.cuts[[2]string{a, b}]
}

// Sessions returns how many sessions were made since the world began.
func (w *World) Sessions() int { return w.made }

// Heal ends all cuts.
func (w *World) Heal() { clear(w.cuts) }

// Deliver hands a life a message as if a peer had sent it.
func (w *World) Deliver(id, instance string, from overlay.Peer, m proto.Message) {
	w.Life(id).Feed(instance, overlay.Received{From: from, Msg: m})
}

// String is a line per running life and machine.
func (w *World) String() string {
	s := ""
	for _, l := range w.Lives() {
		for _, inst := range l.node.Machines {
			s += fmt.Sprintf("%s %s: %v\n", l.id, inst.Name, inst.Machine)
		}
	}
	return s
}
