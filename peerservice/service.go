package peerservice

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/fullmesh"
	"github.com/maquis-go/maquis/overlay/roster"
)

// Names of the overlay instances.
const (
	rosterInstance = "roster"
	mainInstance   = "main"
)

// Config of a Service. It must not be changed after Start.
type Config struct {
	System   *actor.ActorSystem
	Registry *channelmgr.Registry // listening, not serving yet
	Record   roster.Record        // tags, kinds, version and addresses of this node
	Preset   func(roster.Config) roster.Config
	Seeds    []string // contacts that are called from the start and for ever
	Parts    []Part   // further children of the supervisor
	// OnNodeGone is called when a life of a node is over here, after its
	// session has ended and before the event is published. It must not block.
	OnNodeGone func(p overlay.Peer, why messages.Reason)
	// OnLink is called when the session with a peer has come up (again). It
	// must not block.
	OnLink func(p overlay.Peer)
	// OnFail is called once, when the runtime cannot go on.
	OnFail func(error)
	Logger *slog.Logger
}

// View is what is known of all members at one moment. It is immutable.
type View struct {
	Members []roster.Member // alive and suspect, this node included, sorted by name
	all     map[string]roster.Member
}

// Lookup returns a member by name, also one that is down or has left while it
// is remembered.
func (v *View) Lookup(name string) (roster.Member, bool) {
	m, ok := v.all[name]
	return m, ok
}

// Service is the membership of one node. All methods are safe for concurrent
// use.
type Service struct {
	cfg  Config
	log  *slog.Logger
	root *actor.RootContext
	view atomic.Pointer[View]
	self atomic.Pointer[roster.Record]
	sup  *actor.PID

	mu      sync.Mutex
	subs    map[*Subscription]bool
	waiters []*joinWait
	links   map[string]bool // neighbors of the overlay, by name
	left    chan struct{}   // closed when the farewell was sent
	done    sync.Once
}

// joinWait is a Join that waits.
type joinWait struct {
	contacts map[string]messages.Reason // why each failed last; "" not yet
	taken    bool
	result   chan struct{}
	once     sync.Once
	ok       bool
}

// Start brings the node's actors up and begins to call the seeds.
func Start(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{cfg: cfg, log: cmp.Or(cfg.Logger, slog.Default()), root: cfg.System.Root, subs: make(map[*Subscription]bool), links: make(map[string]bool), left: make(chan struct{})}
	if s.cfg.Preset == nil {
		s.cfg.Preset = roster.LAN
	}
	r := cfg.Registry
	rec := cfg.Record
	rec.Peer, rec.Generation, rec.Version = r.Self(), max(r.Generation(), 1), 1
	rec.Addrs = append([]string{rec.Peer.Addr}, slices.DeleteFunc(slices.Clone(rec.Addrs), func(a string) bool { return a == rec.Peer.Addr })...)
	if err := rec.Validate(); err != nil {
		return nil, err
	}
	s.self.Store(&rec)
	s.publish(nil, func(all map[string]roster.Member) { all[rec.Peer.Name] = roster.Member{Record: rec} })
	r.SetAdmission(s.admit)
	strategy := &supervision{failed: make(map[string][]time.Time), log: s.log, giveUp: func(err error) {
		s.done.Do(func() {
			if s.cfg.OnFail != nil {
				s.cfg.OnFail(err)
			}
		})
	}}
	parts := []Part{
		{"channels", channelmgr.ManagerProps(r)},
		{"peers", actor.PropsFromFunc(s.receive)},
		{"roster", s.hostProps(rosterInstance, s.newRoster, s.rosterNotice, s.rosterStarted)},
		{"stack-" + mainInstance, s.hostProps(mainInstance, s.newMesh, s.meshNotice, s.meshStarted)},
	}
	parts = append(parts, cfg.Parts...)
	var err error
	s.sup, err = s.root.SpawnNamed(actor.PropsFromFunc(supervisor(parts), actor.WithSupervisor(strategy)), "maquis")
	if err != nil {
		return nil, fmt.Errorf("peerservice: %w", err)
	}
	r.SetSpawner(func(props *actor.Props, name string) (*actor.PID, error) {
		res, err := s.root.RequestFuture(s.sup, spawnOrder{props, name}, 5*time.Second).Result()
		if err != nil {
			return nil, err
		}
		return res.(spawned).pid, res.(spawned).err
	})
	r.Serve()
	if len(cfg.Seeds) > 0 {
		s.tellRoster(joinEvent(cfg.Seeds))
	}
	return s, ctx.Err()
}

func joinEvent(contacts []string) overlay.Join {
	var ev overlay.Join
	for _, c := range contacts {
		ev.Contacts = append(ev.Contacts, overlay.Peer{Addr: c})
	}
	return ev
}

func (s *Service) part(name string) *actor.PID {
	return s.cfg.System.NewLocalPID("maquis/" + name)
}

func (s *Service) tellRoster(ev overlay.Event) { s.root.Send(s.part("roster"), ev) }
func (s *Service) tellMesh(ev overlay.Event)   { s.root.Send(s.part("stack-"+mainInstance), ev) }

func (s *Service) hostProps(instance string, make func() (overlay.Machine, error), notify func(any), started func()) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		return &host{instance: instance, registry: s.cfg.Registry, system: s.cfg.System, make: make, notify: notify, started: started, log: s.log,
			reject: func(p overlay.Peer, why messages.Reason) {
				s.log.Warn("a peer's message was rejected", "peer", p.Name, "reason", string(why))
			}}
	})
}

// dice makes a source of chance that is not the same on two nodes.
func dice() *rand.Rand {
	var seed [16]byte
	_, _ = crand.Read(seed[:])
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:])))
}

// newRoster makes the roster's machine. After a restart of its host it knows
// what the Service knows.
func (s *Service) newRoster() (overlay.Machine, error) {
	cfg := s.cfg.Preset(roster.Config{Self: *s.self.Load(), Rand: dice()})
	for name, m := range s.view.Load().all {
		if name != cfg.Self.Peer.Name {
			cfg.Seed = append(cfg.Seed, m)
		}
	}
	return roster.New(cfg)
}

func (s *Service) newMesh() (overlay.Machine, error) {
	return fullmesh.New(fullmesh.DefaultConfig(s.cfg.Registry.Self(), dice()))
}

// admit is the rule for peers that shake hands.
func (s *Service) admit(n channelmgr.Newcomer) (messages.Reason, uint64) {
	known, have := s.view.Load().Lookup(n.Peer.Name)
	if n.Peer.Name == s.self.Load().Peer.Name {
		return messages.ReasonNameTaken, s.self.Load().Generation
	}
	return roster.Admit(known, have, n.Peer, n.Generation, n.LinkAlive)
}

// View returns what is known now.
func (s *Service) View() *View { return s.view.Load() }

// Self returns this node's record.
func (s *Service) Self() roster.Record { return *s.self.Load() }

// JoinError says why no contact accepted.
type JoinError struct{ Contacts []ContactError }

// ContactError is why one contact did not accept.
type ContactError struct {
	Contact string
	Reason  messages.Reason
}

// Error implements error.
func (e *JoinError) Error() string {
	var b strings.Builder
	b.WriteString("peerservice: no contact accepted this node")
	for _, c := range e.Contacts {
		fmt.Fprintf(&b, "; %s: %s", c.Contact, cmp.Or(c.Reason, "no answer yet"))
	}
	return b.String()
}

// Join calls contacts until one has answered with its roster, or ctx ends, or
// one refuses because the name is taken. An error is a *JoinError.
func (s *Service) Join(ctx context.Context, contacts []string) error {
	if len(contacts) == 0 {
		return errors.New("peerservice: join needs at least one contact, as host:port")
	}
	w := &joinWait{contacts: make(map[string]messages.Reason), result: make(chan struct{})}
	for _, c := range contacts {
		w.contacts[c] = ""
	}
	s.mu.Lock()
	s.waiters = append(s.waiters, w)
	s.mu.Unlock()
	s.tellRoster(joinEvent(contacts))
	select {
	case <-w.result:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters = slices.DeleteFunc(s.waiters, func(x *joinWait) bool { return x == w })
	if w.ok {
		return nil
	}
	e := &JoinError{}
	for _, c := range contacts {
		e.Contacts = append(e.Contacts, ContactError{c, w.contacts[c]})
	}
	return e
}

// Leave says farewell to all and waits until it is on its way.
func (s *Service) Leave(ctx context.Context) error {
	s.tellRoster(overlay.Leave{})
	select {
	case <-s.left:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.cfg.Registry.Drain(ctx)
}

// ForceLeave declares a member that is down gone, for all.
func (s *Service) ForceLeave(_ context.Context, name string) error {
	m, ok := s.view.Load().Lookup(name)
	switch {
	case !ok:
		return fmt.Errorf("peerservice: no member %q is known", name)
	case m.Status == roster.StatusAlive:
		return fmt.Errorf("peerservice: %q is alive; only a member that is down can be made to leave", name)
	}
	s.tellRoster(overlay.Command{Order: roster.ForceLeave{Name: name}})
	return nil
}

// Disconnect drops the links to a member and dials it no more.
func (s *Service) Disconnect(_ context.Context, name string) error {
	if _, ok := s.view.Load().Lookup(name); !ok {
		return fmt.Errorf("peerservice: no member %q is known", name)
	}
	s.cfg.Registry.Block(name, true)
	return nil
}

// SetTags replaces this node's tags; all members hear of it.
func (s *Service) SetTags(tags map[string]string) error {
	rec := *s.self.Load()
	rec.Tags = tags
	if err := rec.Validate(); err != nil {
		return err
	}
	s.tellRoster(overlay.Command{Order: roster.SetTags{Tags: tags}})
	return nil
}

// SetKinds replaces the kinds that this node spawns for others.
func (s *Service) SetKinds(kinds []string) {
	s.tellRoster(overlay.Command{Order: roster.SetKinds{Kinds: kinds}})
}

// Stop ends the actors and all subscriptions. Links are the registry's to
// close.
func (s *Service) Stop() {
	_ = s.root.StopFuture(s.sup).Wait()
	s.mu.Lock()
	subs := s.subs
	s.subs = make(map[*Subscription]bool)
	s.mu.Unlock()
	for sub := range subs {
		sub.end()
	}
}
