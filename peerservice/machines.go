package peerservice

import (
	"math/rand/v2"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// hostProps describes the host of an overlay instance.
func (s *Service) hostProps(instance string, make func() (overlay.Machine, error)) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		return &host{
			instance: instance, registry: s.cfg.Registry, system: s.cfg.System, channels: s.pids[channelsPart],
			fresh: func() (overlay.Machine, error) {
				m, err := make()
				if err == nil && s.cfg.wrap != nil {
					m = s.cfg.wrap(instance, m)
				}
				return m, err
			},
			notify:  func(n any) { s.notified(instance, n) },
			started: func() { s.tellPeers(started{instance}) },
			reject:  s.rejected,
			count:   func(name string) { s.counters.add(name) },
			log:     s.log,
			slack:   s.cfg.Preset(roster.Config{}).Grace,
		}
	})
}

// newRoster makes the roster's machine. After a restart of its host it knows
// what the Service knows.
func (s *Service) newRoster() (overlay.Machine, error) {
	partial := s.overlays[0].kind().partial
	cfg := s.cfg.Preset(roster.Config{Self: *s.self.Load(), Rand: s.cfg.dice(1), Partial: partial, Tree: partial})
	for _, m := range s.Known() {
		if m.Peer.Name != cfg.Self.Peer.Name {
			cfg.Seed = append(cfg.Seed, m)
		}
	}
	return roster.New(cfg)
}

// newStack makes the machine of an overlay.
func (s *Service) newStack(i int) (overlay.Machine, error) {
	stream := uint64(2 + i)
	// Each machine of an overlay has numbers of its own in this life of the node.
	first := s.starts[i].Add(1) * firstMachine
	return s.overlays[i].stack(s.cfg.Registry.Self(), first, func() *rand.Rand { return s.cfg.dice(stream) })
}

// rejected counts a peer's bad input. It is logged less and less often, since
// a peer may send any amount of it.
func (s *Service) rejected(p overlay.Peer, why messages.Reason) {
	if n := s.counters.add("rejected_" + string(why)); n&(n-1) == 0 {
		s.log.Warn("a peer's message was rejected", "peer", p.String(), "reason", string(why), "rejected_so_far", n)
	}
}
