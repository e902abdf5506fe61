package peerservice

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Part is a child of the node's supervisor that the node cannot do without.
// Its actor is named "maquis/" + Name, in every restart.
type Part struct {
	Name  string
	Props *actor.Props
}

// How failures are answered, our choice: pauses double from 10 ms, so that ten
// failures in a row take about seven seconds, well within the window.
const (
	maxFailures   = 10
	failureWindow = 30 * time.Second
	firstPause    = 10 * time.Millisecond
	longestPause  = 2 * time.Second
)

// supervision restarts failed children with back-off; their mailboxes wait
// meanwhile. After more than maxFailures of one child within failureWindow it
// gives the node up: a node never runs on without a part. It implements
// actor.SupervisorStrategy and is safe for concurrent use.
type supervision struct {
	mu     sync.Mutex
	failed map[string][]time.Time // by actor id, within failureWindow
	ended  bool

	poison *quarantine
	count  func(name string)
	giveUp func(error)
	log    *slog.Logger
}

func newSupervision(log *slog.Logger, poison *quarantine, count func(string), giveUp func(error)) *supervision {
	return &supervision{failed: make(map[string][]time.Time), poison: poison, count: count, giveUp: giveUp, log: log}
}

// HandleFailure implements actor.SupervisorStrategy.
func (s *supervision) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, message any) {
	what := fmt.Sprintf("%T", message)
	pause, ok := s.failure(child.Id, fmt.Sprintf("on a %s: %v", what, reason))
	s.log.Error("a part of the runtime failed", "part", child.Id, "reason", fmt.Sprint(reason), "message", what, "restart_after", pause.String(), "given_up", !ok)
	if s.poison.killed(child.Id, message) {
		s.log.Error("a message has killed a part twice and is dropped from now on", "part", child.Id, "message", what)
	}
	if !ok {
		sup.StopChildren(child)
		return
	}
	time.AfterFunc(pause, func() {
		if s.live() {
			sup.RestartChildren(child)
		}
	})
}

// failure books a failure of a child and returns after which pause it is to be
// started again. It reports false, once the node is given up.
func (s *supervision) failure(id, detail string) (time.Duration, bool) {
	s.count("part_failures")
	s.mu.Lock()
	now := time.Now()
	recent := s.failed[id][:0]
	for _, t := range s.failed[id] {
		if now.Sub(t) < failureWindow {
			recent = append(recent, t)
		}
	}
	recent = append(recent, now)
	s.failed[id] = recent
	s.mu.Unlock()
	if len(recent) > maxFailures {
		s.giveUp(fmt.Errorf("peerservice: %s failed %d times within %v, last %s", id, len(recent), failureWindow, detail))
		return 0, false
	}
	pause := min(firstPause<<(len(recent)-1), longestPause)
	return pause/2 + rand.N(pause), true
}

// forget drops what is known of a child that is gone for good.
func (s *supervision) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failed, id)
}

// end lets no part start again.
func (s *supervision) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

func (s *supervision) live() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended
}

// guardian answers a failure of the supervisor itself: there is nobody left to
// restart parts, so the node is given up.
type guardian struct{ giveUp func(error) }

// HandleFailure implements actor.SupervisorStrategy.
func (g *guardian) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	g.giveUp(fmt.Errorf("peerservice: the supervisor failed: %v", reason))
	sup.StopChildren(child)
}

// Messages to the supervisor, inside the process only.
type (
	// spawnOrder asks for a child that may end, a link's actor; the answer is
	// spawned.
	spawnOrder struct {
		props *actor.Props
		name  string
	}
	spawned struct {
		pid *actor.PID
		err error
	}
	// ready is answered once all parts are there.
	ready struct{}
	// respawn starts a part again whose actor has stopped.
	respawn struct{ id string }
)

// supervisor is the actor above all parts.
type supervisor struct {
	begun    chan struct{} // closed once all parts are spawned
	strategy *supervision
	parts    map[string]Part // by actor id
	order    []Part
}

// Receive implements actor.Actor.
func (s *supervisor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		s.parts = make(map[string]Part)
		s.begun = make(chan struct{})
		defer close(s.begun)
		for _, p := range s.order {
			s.parts[c.Self().Id+"/"+p.Name] = p
			s.spawn(c, p)
		}
	case spawnOrder:
		if !s.strategy.live() { // a child spawned now would outlive the order to stop
			c.Respond(spawned{err: ErrStopped})
			return
		}
		pid, err := c.SpawnNamed(m.props, m.name)
		c.Respond(spawned{pid, err})
	case ready:
		c.Respond(ready{})
	case respawn:
		if p, ok := s.parts[m.id]; ok && s.strategy.live() {
			s.spawn(c, p)
		}
	case *actor.Stopping:
		s.strategy.end()
	case *actor.Terminated:
		s.ended(c, m.Who)
	}
}

func (s *supervisor) spawn(c actor.Context, p Part) {
	guard := actor.WithReceiverMiddleware(s.strategy.poison.guard(c.Self().Id + "/" + p.Name))
	// Parts know each other by name, and protoactor registers a name before its
	// mailbox is ready: so nobody begins until all are spawned.
	begun := s.begun
	wait := actor.WithReceiverMiddleware(func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(c actor.ReceiverContext, e *actor.MessageEnvelope) {
			if _, ok := e.Message.(*actor.Started); ok {
				<-begun
			}
			next(c, e)
		}
	})
	if _, err := c.SpawnNamed(p.Props.Clone(wait, guard, actor.WithDispatcher(newDeep())), p.Name); err != nil {
		panic(fmt.Sprintf("spawning part %q: %v", p.Name, err))
	}
}

// ended: a child has stopped. A link's actor may; a part is started again.
func (s *supervisor) ended(c actor.Context, who *actor.PID) {
	if _, ok := s.parts[who.Id]; !ok {
		s.strategy.forget(who.Id)
		return
	}
	if !s.strategy.live() {
		return
	}
	pause, ok := s.strategy.failure(who.Id, "by stopping")
	s.strategy.log.Error("a part of the runtime has stopped", "part", who.Id, "respawn_after", pause.String(), "given_up", !ok)
	if !ok {
		return
	}
	root, self := c.ActorSystem().Root, c.Self()
	time.AfterFunc(pause, func() {
		if s.strategy.live() {
			root.Send(self, respawn{who.Id})
		}
	})
}
