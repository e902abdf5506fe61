package peerservice

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
	"github.com/maquis-go/maquis/peerservice/route"
)

// Names of the supervisor, of the parts below it and of the overlay instances.
const (
	supervisorName = "maquis"
	channelsPart   = "channels"
	peersPart      = "peers"
	rosterPart     = "roster"
	castPart       = "broadcast"

	rosterInstance = "roster"
	mainInstance   = "main"
)

// ErrStopped is returned when the service has stopped.
var ErrStopped = errors.New("peerservice: stopped")

// spawnWithin is how long the supervisor may take to spawn a child; it does
// nothing else that takes time. Our choice.
const spawnWithin = 5 * time.Second

// Service is the membership of one node. It holds what must outlive a restart
// of any of its actors. All methods are safe for concurrent use.
type Service struct {
	cfg      Config
	log      *slog.Logger
	root     *actor.RootContext
	self     atomic.Pointer[roster.Record]
	counters counters
	strategy *supervision
	sup      *actor.PID
	starts   []atomic.Uint64       // machines made so far, by overlay
	cast     *casting              // the application's broadcasts
	pids     map[string]*actor.PID // of the parts that are sent to
	overlays []OverlaySpec         // the first is that of the roster

	mu       sync.Mutex
	all      map[string]roster.Member // what is known of members, by name
	view     *View                    // of all, if it was made since all changed
	alive    int                      // of them
	subs     map[*Subscription]bool
	waiters  map[string]*joinWait // Joins that wait, by id of who is answered
	contacts []string             // all that were ever asked for: a fresh roster calls them again
	links    map[string]neighbor  // neighbors on any overlay, by name
	met      map[string]bool      // nodes to whose current session a link stood once, by name
	news     int                  // members that came up
	blocked  map[string]bool      // disconnected on request, by name
	refusals map[string]messages.Reason
	carried  []carried
	changes  []*actor.PID // who waits for our record to change
	leavers  []*actor.PID // who waits for the farewell
	leaving  bool         // from the order to leave until a Join
	farewell bool         // while leaving: it was said
	returns  bool         // a Join after that has not led to a new generation yet

	failOnce sync.Once
	failed   chan struct{}
	failure  atomic.Pointer[error]
	stopOnce sync.Once
	stopped  chan struct{}
}

// Start brings the node's actors up, lets the registry accept links and begins
// to call the seeds. ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Preset == nil {
		cfg.Preset = roster.LAN
	}
	s := &Service{
		cfg: cfg, log: cmp.Or(cfg.Logger, slog.Default()), root: cfg.System.Root,
		all: make(map[string]roster.Member), subs: make(map[*Subscription]bool), waiters: make(map[string]*joinWait), links: make(map[string]neighbor),
		met: make(map[string]bool), blocked: make(map[string]bool), refusals: make(map[string]messages.Reason),
		failed: make(chan struct{}), stopped: make(chan struct{}),
	}
	s.cast = newCasting(s)
	r := cfg.Registry
	var err error
	if s.overlays, err = overlays(cfg.Overlays, r.Self().Name); err != nil {
		return nil, err
	}
	for i := range s.overlays {
		s.overlays[i].maxHops, s.overlays[i].tags = cfg.MaxHops, s.tagsOf
	}
	s.starts = make([]atomic.Uint64, len(s.overlays))
	rec := cfg.Record
	rec.Peer, rec.Generation, rec.Version = r.Self(), max(r.Generation(), 1), 1
	rec.Addrs = append([]string{rec.Peer.Addr}, slices.DeleteFunc(slices.Clone(rec.Addrs), func(a string) bool { return a == rec.Peer.Addr })...)
	if err := rec.Validate(); err != nil {
		return nil, err
	}
	s.self.Store(&rec)
	s.publish(nil, put(roster.Member{Record: &rec}))
	r.SetAdmission(s.admit)
	r.SetFinder(func(to, not overlay.Peer) {
		s.tellStack(s.overlays[0], overlay.Command{Order: route.Want{To: to, Not: not}})
	})
	r.SetOnLink(func(p overlay.Peer) {
		if cfg.OnLink != nil {
			cfg.OnLink(p)
		}
		s.bring(p)
	})
	if err := s.spawn(ctx); err != nil {
		return nil, err
	}
	r.Serve()
	if len(cfg.Seeds) > 0 {
		s.call(cfg.Seeds)
	}
	return s, nil
}

// spawn brings the supervisor up with all parts.
func (s *Service) spawn(ctx context.Context) error {
	r, count := s.cfg.Registry, func(name string) { s.counters.add(name) }
	poison := newQuarantine(count, s.dropped)
	poison.tap = s.cfg.tap
	s.strategy = newSupervision(s.log, poison, count, s.fail)
	parts := append([]Part{
		{channelsPart, channelmgr.ManagerProps(r)},
		{peersPart, actor.PropsFromProducer(func() actor.Actor { return &manager{s: s} })},
		{rosterPart, s.hostProps(rosterInstance, s.newRoster)},
		{castPart, actor.PropsFromProducer(func() actor.Actor { return s.cast })},
	}, s.cfg.Parts...)
	for i, o := range s.overlays {
		parts = append(parts, Part{o.part(), s.hostProps(o.ID, func() (overlay.Machine, error) { return s.newStack(i) })})
	}
	s.pids = make(map[string]*actor.PID)
	for _, p := range parts {
		s.pids[p.Name] = s.cfg.System.NewLocalPID(supervisorName + "/" + p.Name)
	}
	s.sup = s.cfg.System.NewLocalPID(supervisorName)
	r.SetSpawner(func(props *actor.Props, name string) (*actor.PID, error) {
		res, err := s.root.RequestFuture(s.sup, spawnOrder{props, name}, spawnWithin).Result()
		if err != nil {
			return nil, fmt.Errorf("peerservice: spawning %s: %w", name, err)
		}
		return res.(spawned).pid, res.(spawned).err
	})
	r.BindOverlay(rosterInstance, s.pids[rosterPart])
	for _, o := range s.overlays {
		r.BindOverlay(o.ID, s.pids[o.part()])
	}
	props := actor.PropsFromProducer(func() actor.Actor { return &supervisor{strategy: s.strategy, order: parts} },
		actor.WithSupervisor(s.strategy), actor.WithGuardian(&guardian{s.fail}))
	if _, err := s.root.SpawnNamed(props, supervisorName); err != nil {
		return fmt.Errorf("peerservice: the actor system has an actor %q already: %w", supervisorName, err)
	}
	if _, err := s.ask(ctx, s.sup, ready{}); err != nil {
		s.Stop()
		return fmt.Errorf("peerservice: the runtime's actors did not start: %w", cmp.Or(s.Err(), err))
	}
	return nil
}

// dropped settles a message that is dropped unread: the bound on frames that
// wait for hosts counts it.
func (s *Service) dropped(msg any) {
	switch msg := msg.(type) {
	case *messages.OverlayInbound:
		s.cfg.Registry.OverlayDone(msg)
	case *messages.ControlInbound:
		s.cfg.Registry.ControlDone()
	}
}

// fail ends the node visibly.
func (s *Service) fail(err error) {
	s.failOnce.Do(func() {
		s.failure.Store(&err)
		s.strategy.end()
		close(s.failed)
		s.log.Error("the runtime cannot go on", "error", err)
		if s.cfg.OnFail != nil {
			s.cfg.OnFail(err)
		}
	})
}

// Fail is closed when the runtime cannot go on; Err says why.
func (s *Service) Fail() <-chan struct{} { return s.failed }

// Err returns why the runtime cannot go on, or nil.
func (s *Service) Err() error {
	if e := s.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// Stop ends the actors and all subscriptions. It says no farewell, and links
// are the registry's to close. It is idempotent.
func (s *Service) Stop() {
	s.stopOnce.Do(func() {
		s.strategy.end()
		close(s.stopped)
		_ = s.root.StopFuture(s.sup).Wait()
		s.mu.Lock()
		subs := s.subs
		s.subs = nil
		s.mu.Unlock()
		for sub := range subs {
			sub.end()
		}
	})
}

// Self returns this node's record.
func (s *Service) Self() roster.Record { return *s.self.Load() }

// admit is the rule for peers that shake hands, over the view of the moment.
func (s *Service) admit(n channelmgr.Newcomer) (messages.Reason, uint64) {
	if me := s.self.Load(); n.Peer.Name == me.Peer.Name {
		return messages.ReasonNameTaken, me.Generation
	}
	known, have := s.Lookup(n.Peer.Name)
	return roster.Admit(known, have, n.Peer, n.Generation, n.LinkAlive)
}

func (s *Service) tellPeers(m any)             { s.root.Send(s.pids[peersPart], m) }
func (s *Service) tellRoster(ev overlay.Event) { s.root.Send(s.pids[rosterPart], ev) }
func (s *Service) tellStack(o OverlaySpec, ev any) {
	s.root.Send(s.pids[o.part()], ev)
}

// tellStacks tells the hosts of all overlays, or of those that are dial rules.
func (s *Service) tellStacks(rules bool, ev any) {
	for _, o := range s.overlays {
		if !rules || o.kind().rule {
			s.tellStack(o, ev)
		}
	}
}
func (s *Service) name() string                { return s.self.Load().Peer.Name }
func (s *Service) isSelf(m roster.Member) bool { return m.Peer.Name == s.name() }
