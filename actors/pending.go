package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/actors/watch"
	"github.com/maquis-go/maquis/overlay"
)

// pending are the futures of this node that wait for an answer from a remote
// node: when that node goes down they fail at once. A future that is answered
// is removed; of those that timed out the table is cleaned when it has grown.
type pending struct {
	shards [16]pendingShard
}

type pendingShard struct {
	mu    sync.Mutex
	lives map[watch.Life]map[string]struct{}
	size  int
	clean int // size at which to look for dead entries
}

const pendingClean = 1024

func (p *pending) init() {
	for i := range p.shards {
		p.shards[i].lives = make(map[watch.Life]map[string]struct{})
		p.shards[i].clean = pendingClean
	}
}

func (p *pending) shard(id string) *pendingShard {
	h := uint32(0)
	for i := max(0, len(id)-4); i < len(id); i++ {
		h = h*31 + uint32(id[i])
	}
	return &p.shards[h%16]
}

// add notes a future.
func (p *pending) add(peer overlay.Peer, id string) {
	life := lifeOf(peer)
	s := p.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.lives[life]
	if m == nil {
		m = make(map[string]struct{})
		s.lives[life] = m
	}
	m[id] = struct{}{}
	s.size++
}

// prune removes the futures that have ended without an answer. It is called
// by the runtime actor now and then.
func (p *pending) prune(d *Distribution) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		if s.size >= s.clean {
			n := 0
			for _, m := range s.lives {
				for id := range m {
					if _, alive := d.system.ProcessRegistry.GetLocal(id); !alive {
						delete(m, id)
					}
				}
				n += len(m)
			}
			s.size, s.clean = n, max(pendingClean, 2*n)
		}
		s.mu.Unlock()
	}
}

// done removes a future that is being answered.
func (p *pending) done(peer overlay.Peer, id string) {
	s := p.shard(id)
	s.mu.Lock()
	if m := s.lives[lifeOf(peer)]; m != nil {
		if _, ok := m[id]; ok {
			delete(m, id)
			s.size--
		}
	}
	s.mu.Unlock()
}

// gone fails all futures that wait for a life that is over.
func (p *pending) gone(d *Distribution, peer overlay.Peer) {
	life := lifeOf(peer)
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		ids := s.lives[life]
		delete(s.lives, life)
		s.size -= len(ids)
		s.mu.Unlock()
		for id := range ids {
			if proc, ok := d.system.ProcessRegistry.GetLocal(id); ok {
				proc.SendUserMessage(&actor.PID{Address: d.address, Id: id}, &actor.DeadLetterResponse{})
			}
		}
	}
}
