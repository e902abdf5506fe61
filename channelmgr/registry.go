package channelmgr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/channelmgr/catalog"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Errors a caller can branch on.
var (
	ErrUnknownChannel = errors.New("channelmgr: unknown channel; name it in the configuration's channels")
	ErrClosed         = errors.New("channelmgr: closed")
)

// life names one life of a node.
type life struct {
	name        string
	incarnation overlay.Incarnation
}

func lifeOf(p overlay.Peer) life { return life{p.Name, p.Incarnation} }

// Registry holds what must outlive the actors that manage it: the listener,
// the links, the sessions with their flows, the holds. All methods are safe
// for concurrent use.
type Registry struct {
	cfg      Config
	log      *slog.Logger
	began    time.Time
	planning sync.Mutex       // who replaces the plan
	catalog  *catalog.Catalog // with planning
	plan     atomic.Pointer[plan]
	types    sync.Map // type name -> inType

	self       atomic.Pointer[overlay.Peer]
	address    atomic.Pointer[string]
	generation atomic.Uint64
	sessions   sync.Map // name -> *Session with the current life
	hosts      atomic.Pointer[map[string]*actor.PID]
	runtime    atomic.Pointer[actor.PID] // takes ControlInbound
	manager    atomic.Pointer[actor.PID]
	receiver   atomic.Pointer[Receiver]
	binder     atomic.Pointer[func(*actor.PID, string) *actor.PID]
	admission  atomic.Pointer[func(Newcomer) (messages.Reason, uint64)]
	spawner    atomic.Pointer[func(*actor.Props, string) (*actor.PID, error)]
	backlog    atomic.Int64 // overlay frames that wait for their hosts
	counters   counters
	packers    packers

	tally        sync.Mutex // what is counted moves from a session to its channels at once
	byChannel    sync.Map   // name -> *channelCounters
	channelsSeen atomic.Int64
	sheds        perSecond     // dropped messages that are told of
	relayed      atomic.Uint64 // frames passed on for others
	circuits     circuits
	ways         ways
	overRelays   *handshake.Security // of links over circuits: each hop is secured
	intercept    atomic.Pointer[func(Packet) Verdict]
	onLink       atomic.Pointer[func(overlay.Peer)]
	onStall      atomic.Pointer[func(Stall)]
	onRelease    atomic.Pointer[func(Release)]
	stalls       perSecond
	onChannel    atomic.Pointer[func(ChannelChange)]
	nextLink     atomic.Uint64
	firstLink    atomic.Int64 // when there was one, after began; 0: there was none

	mu       sync.Mutex
	lives    map[life]*Session
	ending   map[*Session]bool // that are no life's any more, and not counted with their channels yet
	parted   parted
	orders   sync.Map // orderKey -> *inbox
	outgoing sync.Map // orderKey -> *outOrder
	current  map[string]*Current
	links    map[uint64]*link
	attempts map[uint64]*attempt
	welcomes map[*welcome]struct{}
	blocked  map[string]bool
	listener net.Listener
	closed   bool

	holds      holds // the manager's
	bounds     atomic.Pointer[Limits]
	handshakes chan struct{} // a slot per handshake in progress
	ctx        context.Context
	cancel     context.CancelFunc
	wg         sync.WaitGroup
}

// New makes a registry that is not listening yet.
func New(cfg Config) (*Registry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Shortcuts, cfg.MaxHops = cmp.Or(cfg.Shortcuts, 16), cmp.Or(cfg.MaxHops, DefaultMaxHops)
	cfg.Timing, cfg.Limits = cfg.Timing.withDefaults(), cfg.Limits.withDefaults()
	r := &Registry{
		cfg:   cfg,
		log:   cmp.Or(cfg.Logger, slog.Default()),
		began: time.Now(),
		lives: make(map[life]*Session), ending: make(map[*Session]bool), current: make(map[string]*Current),
		links: make(map[uint64]*link), attempts: make(map[uint64]*attempt), welcomes: make(map[*welcome]struct{}), blocked: make(map[string]bool),
	}
	specs := configured(cfg.Channels)
	p, err := newPlan(specs, cfg.Rules)
	if err != nil {
		return nil, err
	}
	r.plan.Store(p)
	r.bounds.Store(&cfg.Limits)
	r.catalog = catalog.New(entriesOf(specs)...)
	if r.overRelays, err = handshake.NewSecurity(handshake.SecurityConfig{Mode: handshake.ModeInsecure, Cluster: cfg.Cluster, Node: cfg.Self.Name}); err != nil {
		return nil, err
	}
	r.initRelays()
	r.handshakes = make(chan struct{}, cfg.Limits.MaxHandshakes)
	r.holds.init()
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.setSelf(cfg.Self)
	r.generation.Store(1)
	return r, nil
}

// limits are the bounds of the moment.
func (r *Registry) limits() *Limits { return r.bounds.Load() }

// SetLimits changes the bounds of a running node, but for MaxHandshakes and
// DictionarySize, on which links that stand have agreed. They hold for what comes
// from now on.
func (r *Registry) SetLimits(l Limits) {
	l = l.withDefaults()
	l.MaxHandshakes, l.DictionarySize = r.cfg.Limits.MaxHandshakes, r.cfg.Limits.DictionarySize
	r.bounds.Store(&l)
}

func (r *Registry) setSelf(p overlay.Peer) {
	r.self.Store(&p)
	a := PIDAddress(p)
	r.address.Store(&a)
}

// now is the time since the registry began.
func (r *Registry) now() time.Duration { return time.Since(r.began) }

// Self returns this node's life and advertised address.
func (r *Registry) Self() overlay.Peer { return *r.self.Load() }

// Address is the address in PIDs of this node's actors, valid after Listen.
func (r *Registry) Address() string { return *r.address.Load() }

// isSelf reports whether a PID's address means this node: PIDs made before
// the node was started carry protoactor's placeholder.
func (r *Registry) isSelf(address string) bool {
	return address == *r.address.Load() || address == "" || address == "nonhost"
}

// Generation returns this node's generation.
func (r *Registry) Generation() uint64 { return r.generation.Load() }

// SetGeneration sets the generation told in handshakes from now on.
func (r *Registry) SetGeneration(g uint64) { r.generation.Store(g) }

// SetReceiver sets who takes messages for actors.
func (r *Registry) SetReceiver(rc Receiver) { r.receiver.Store(&rc) }

// SetSenderBinder sets a function through which every sender PID passes that
// is handed to the Receiver, with the channel that its message came on: an
// answer shall ride its question's channel.
func (r *Registry) SetSenderBinder(f func(pid *actor.PID, channel string) *actor.PID) {
	r.binder.Store(&f)
}

// SetAdmission sets the rule by which peers are let in. It is called in
// handshakes and must not block.
func (r *Registry) SetAdmission(f func(Newcomer) (why messages.Reason, known uint64)) {
	r.admission.Store(&f)
}

// SetOnLink sets who is told that the session with a peer has come up, over a
// link or a circuit. It must not block.
func (r *Registry) SetOnLink(f func(peer overlay.Peer)) { r.onLink.Store(&f) }

// SetOnStall sets who is told when a sender has waited for room for a second, up
// to so often in a second. It must not block.
func (r *Registry) SetOnStall(f func(Stall)) { r.onStall.Store(&f) }

func (r *Registry) stalled(ln *lane, waited time.Duration) {
	r.count("stalls")
	if f := r.onStall.Load(); f != nil && r.stalls.allow(r.now(), stallEvents) {
		(*f)(Stall{Session: ln.pipe.s, Channel: ln.spec.Name, For: waited})
	}
}

// SetManager names the manager actor.
func (r *Registry) SetManager(pid *actor.PID) { r.manager.Store(pid) }

// SetSpawner sets how link actors are spawned: as siblings of the manager.
func (r *Registry) SetSpawner(f func(props *actor.Props, name string) (*actor.PID, error)) {
	r.spawner.Store(&f)
}

// BindOverlay names the host of an overlay instance: its frames and the
// answers to its Connects go there.
func (r *Registry) BindOverlay(instance string, host *actor.PID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := make(map[string]*actor.PID)
	if old := r.hosts.Load(); old != nil {
		maps.Copy(m, *old)
	}
	m[instance] = host
	r.hosts.Store(&m)
}

func (r *Registry) host(instance string) *actor.PID {
	if m := r.hosts.Load(); m != nil {
		return (*m)[instance]
	}
	return nil
}

// BindControl names the actor that takes messages from other runtimes.
func (r *Registry) BindControl(host *actor.PID) { r.runtime.Store(host) }

// Session returns the session with the current life of a node, or nil. It
// takes no lock.
func (r *Registry) Session(name string) *Session {
	if s, ok := r.sessions.Load(name); ok {
		return s.(*Session)
	}
	return nil
}

// Current is the session with the current life of one node, kept up to date:
// looking at it costs a load.
type Current struct{ s atomic.Pointer[Session] }

// Session returns the session with the current life of the node, or nil.
func (c *Current) Session() *Session { return c.s.Load() }

// Current returns where the session with a node is to be found from now on.
// Registries keep it for ever: callers bound how many names they ask for.
func (r *Registry) Current(name string) *Current {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.current[name]
	if c == nil {
		c = new(Current)
		c.s.Store(r.Session(name))
		r.current[strings.Clone(name)] = c
	}
	return c
}

// Sessions returns the sessions with all current lives, sorted by name.
func (r *Registry) Sessions() []*Session {
	var list []*Session
	r.sessions.Range(func(_, s any) bool {
		list = append(list, s.(*Session))
		return true
	})
	slices.SortFunc(list, func(a, b *Session) int { return a.peer.Compare(b.peer) })
	return list
}

// Ensure returns the session with a life of a node, making it if need be, and
// makes it the node's current one.
func (r *Registry) Ensure(p overlay.Peer, generation uint64) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ensure(p, generation)
}

// ensure is Ensure with r.mu held. A peer that took a higher generation since
// was declared down by others only: the session here goes on.
func (r *Registry) ensure(p overlay.Peer, generation uint64) *Session {
	s := r.lives[lifeOf(p)]
	if s == nil {
		s = newSession(r, p, generation)
		r.parted.restore(s)
		r.lives[lifeOf(p)] = s
	}
	if s.Generation() < generation {
		s.generation.Store(generation)
	}
	if r.Session(p.Name) != s {
		r.publish(p.Name, s)
	}
	return s
}

// publish lets senders find another session, or none, for a name. r.mu is
// held.
func (r *Registry) publish(name string, s *Session) {
	if s == nil {
		r.sessions.Delete(name)
	} else {
		r.sessions.Store(name, s)
	}
	if c := r.current[name]; c != nil {
		c.s.Store(s)
	}
}

// EndSession ends the session with a life of a node up to a generation: links
// are closed, queued messages come back as undelivered with the reason.
func (r *Registry) EndSession(p overlay.Peer, generation uint64, why messages.Reason) {
	r.mu.Lock()
	s := r.lives[lifeOf(p)]
	if s == nil || s.Generation() > generation {
		r.mu.Unlock()
		return
	}
	delete(r.lives, lifeOf(p))
	r.ending[s] = true
	r.part(s)
	if r.Session(p.Name) == s {
		r.publish(p.Name, nil)
	}
	r.mu.Unlock()
	s.end(why, messages.ReasonDown)
}

// Block drops the links to a node and dials and admits it no more, or ends
// that.
func (r *Registry) Block(name string, on bool) {
	r.mu.Lock()
	if on {
		r.blocked[name] = true
	} else {
		delete(r.blocked, name)
	}
	r.mu.Unlock()
	if s := r.Session(name); on && s != nil {
		for _, l := range s.allLinks() {
			l.close(messages.ReasonDisconnected)
		}
	}
}

// SendOverlay sends a message of an overlay instance to a peer. It never
// blocks; without a link, or with too much waiting, it is refused.
func (r *Registry) SendOverlay(instance string, to overlay.Peer, m proto.Message) error {
	r.mu.Lock()
	s := r.lives[lifeOf(to)]
	r.mu.Unlock()
	if s == nil {
		return &SendError{Node: to.Name, Channel: ControlChannel, Reason: messages.ReasonUnreachable}
	}
	return s.sendRuntime(instance, m)
}

// closeWait bounds how long Close waits for readers: one whose actor blocks its
// poster for ever (a full actor.Bounded mailbox) cannot be ended.
const closeWait = 5 * time.Second

// Close ends everything: the listener, all links, all sessions. It waits for
// the goroutines of links to end, for five seconds at most, is idempotent and
// safe for concurrent use.
func (r *Registry) Close() {
	r.mu.Lock()
	already := r.closed
	r.closed = true
	ln := r.listener
	r.mu.Unlock()
	r.cancel()
	if !already {
		if ln != nil {
			_ = ln.Close()
		}
		for _, s := range r.allSessions() {
			s.end(messages.ReasonStopped, messages.ReasonClosed)
		}
	}
	ended := make(chan struct{})
	go func() {
		r.wg.Wait()
		close(ended)
	}()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		r.log.Error("a link's reader is blocked by an actor's mailbox and is left behind")
		r.count("readers_left_behind")
	}
}

// track counts a goroutine that Close waits for. It reports false once Close
// has begun: then the goroutine either need not start or is not waited for.
func (r *Registry) track() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Add(1)
	return true
}

// linksOf returns the links with a life that have not ended: also replaced ones,
// and those of sessions that have ended here.
func (r *Registry) linksOf(p overlay.Peer) (list []*link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.links {
		if l.s.peer.Same(p) {
			list = append(list, l)
		}
	}
	return list
}

func (r *Registry) allSessions() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.lives))
}

// Listen binds the address of the configuration. Peers are answered from
// Serve on.
func (r *Registry) Listen(ctx context.Context) error {
	ln, err := r.cfg.Transport.Listen(ctx, r.cfg.Listen)
	if err != nil {
		return fmt.Errorf("channelmgr: listen on %q: %w", r.cfg.Listen, err)
	}
	self := r.Self()
	if self.Addr == "" {
		self.Addr = ln.Addr().String()
		if len(r.cfg.Advertise) > 0 {
			self.Addr = r.cfg.Advertise[0]
			if host, port, err := net.SplitHostPort(self.Addr); err == nil && port == "0" {
				_, p, _ := net.SplitHostPort(ln.Addr().String())
				self.Addr = net.JoinHostPort(host, p)
			}
		}
	}
	host, port, err := net.SplitHostPort(self.Addr)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 1 || n > 65535 || host == "" || net.ParseIP(host).IsUnspecified() {
		_ = ln.Close()
		return fmt.Errorf("channelmgr: %q cannot be advertised to peers; set an address of this host that they can dial, as host:port", self.Addr)
	}
	r.setSelf(self)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		_ = ln.Close()
		return ErrClosed
	}
	r.listener = ln
	return nil
}

// Manager returns the manager actor.
func (r *Registry) Manager() *actor.PID { return r.manager.Load() }

// Drain waits until nothing is queued on any link and what has to be confirmed
// is, or ctx ends.
func (r *Registry) Drain(ctx context.Context) error {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for {
		idle := true
		for _, s := range r.allSessions() {
			for _, p := range append(slices.Clip(s.allPipes()), s.ctl) {
				p.mu.Lock()
				if p.link != nil && (p.busy != nil || !p.settled()) {
					idle = false
				}
				p.mu.Unlock()
			}
		}
		if idle {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
