package peerservice

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Part is a child of the node's supervisor. Its actor is named
// "maquis/" + Name.
type Part struct {
	Name  string
	Props *actor.Props
}

// How failures are answered. Our choice: the first restart is immediate, since
// most faults are of one message; later ones wait, doubling.
const (
	maxFailures   = 10
	failureWindow = 30 * time.Second
	firstPause    = 10 * time.Millisecond
	longestPause  = 2 * time.Second
)

// supervision restarts failed children with back-off. After maxFailures of
// one child within failureWindow it gives the node up. It implements
// actor.SupervisorStrategy and is safe for concurrent use.
type supervision struct {
	mu     sync.Mutex
	failed map[string][]time.Time
	giveUp func(error)
	log    *slog.Logger
}

// HandleFailure implements actor.SupervisorStrategy.
func (s *supervision) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, message any) {
	s.mu.Lock()
	now := time.Now()
	recent := s.failed[child.Id][:0]
	for _, t := range s.failed[child.Id] {
		if now.Sub(t) < failureWindow {
			recent = append(recent, t)
		}
	}
	recent = append(recent, now)
	s.failed[child.Id] = recent
	s.mu.Unlock()
	n := len(recent)
	s.log.Error("a part of the runtime failed", "part", child.Id, "failures", n, "reason", fmt.Sprint(reason), "message", fmt.Sprintf("%T", message))
	if n > maxFailures {
		s.giveUp(fmt.Errorf("peerservice: %s failed %d times within %v, last: %v", child.Id, n, failureWindow, reason))
		sup.StopChildren(child)
		return
	}
	if n == 1 {
		sup.RestartChildren(child)
		return
	}
	pause := min(firstPause<<min(n-2, 10), longestPause)
	time.AfterFunc(pause, func() { sup.RestartChildren(child) })
}

// spawnOrder asks the supervisor for a child.
type spawnOrder struct {
	props *actor.Props
	name  string
}

// spawned is its answer.
type spawned struct {
	pid *actor.PID
	err error
}

// supervisor is the actor above all parts.
func supervisor(parts []Part) actor.ReceiveFunc {
	return func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			for _, p := range parts {
				if _, err := c.SpawnNamed(p.Props, p.Name); err != nil {
					panic(fmt.Sprintf("peerservice: spawning %s: %v", p.Name, err))
				}
			}
		case spawnOrder:
			pid, err := c.SpawnNamed(m.props, m.name)
			c.Respond(spawned{pid, err})
		}
	}
}
