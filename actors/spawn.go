package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/lithammer/shortuuid/v4"

	"github.com/maquis-go/maquis/actors/watch"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// spawns are the requests to spawn elsewhere that wait for their answer, and the
// last answers to those of others.
type spawns struct {
	mu    sync.Mutex
	next  uint64
	m     map[uint64]*spawnWait
	done  map[spawnKey]*messages.SpawnReply
	order []spawnKey // of done; once it is full, a ring whose oldest is at
	at    int
}

type spawnWait struct {
	life   watch.Life
	linked chan struct{} // the session has come up again; has room for one
	result chan *messages.SpawnReply
}

// spawnKey names a request of another node.
type spawnKey struct {
	life watch.Life
	id   uint64
}

// Bounds of spawning elsewhere, our choice.
const (
	maxSpawned = 1024        // answers that are remembered
	spawnRetry = time.Second // until a link is tried for anew
)

func (s *spawns) init() {
	s.m, s.done = make(map[uint64]*spawnWait), make(map[spawnKey]*messages.SpawnReply)
}

// open notes a request to a life of a node.
func (s *spawns) open(p overlay.Peer) (uint64, *spawnWait) {
	w := &spawnWait{life: lifeOf(p), linked: make(chan struct{}, 1), result: make(chan *messages.SpawnReply, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	s.m[s.next] = w
	return s.next, w
}

func (s *spawns) end(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, id)
}

// linked: the session with a peer has come up; what was sent before, and its answer,
// may be lost.
func (s *spawns) linked(p overlay.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.m {
		if w.life == lifeOf(p) {
			select {
			case w.linked <- struct{}{}:
			default:
			}
		}
	}
}

// answered takes an answer.
func (s *spawns) answered(p overlay.Peer, m *messages.SpawnReply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.m[m.GetId()]; w != nil && w.life == lifeOf(p) {
		delete(s.m, m.GetId())
		w.result <- m
	}
}

// once returns the answer to a request, which is fulfilled once, however often it
// comes.
func (s *spawns) once(k spawnKey, spawn func() *messages.SpawnReply) *messages.SpawnReply {
	s.mu.Lock()
	reply := s.done[k]
	s.mu.Unlock()
	if reply != nil {
		return reply
	}
	reply = spawn()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[k] = reply
	if len(s.order) < maxSpawned {
		s.order = append(s.order, k)
		return reply
	}
	delete(s.done, s.order[s.at])
	s.order[s.at] = k
	s.at = (s.at + 1) % maxSpawned
	return reply
}

// gone ends the requests to a life that is over.
func (s *spawns) gone(p overlay.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, w := range s.m {
		if w.life == lifeOf(p) {
			delete(s.m, id)
			w.result <- nil
		}
	}
}

// Register lets other nodes spawn actors of a kind here. All members see the
// kinds of a node. The actors outlive their spawner; their supervisor is this
// node's runtime.
func (d *Distribution) Register(kind string, props *actor.Props) error {
	if err := WithKind(kind, props)(&options{}); err != nil {
		return err
	}
	d.kinds.Store(kind, props)
	var kinds []string
	d.kinds.Range(func(k, _ any) bool { kinds = append(kinds, k.(string)); return true })
	return d.service.SetKinds(kinds)
}

// Spawn spawns an actor of a kind on a node, which must have registered it. It waits
// for a link to the node and for the answer until ctx ends (for DefaultCallTimeout if
// it has no deadline). The actor is spawned once at most, whatever links break; if it
// is not known whether it was, the error wraps ErrUnconfirmed.
func (d *Distribution) Spawn(ctx context.Context, node, kind string) (*actor.PID, error) {
	return d.SpawnNamed(ctx, node, "", kind)
}

// SpawnNamed is Spawn with a name. If the name is taken there, the error wraps
// ErrNameExists and the PID is that of the actor that has it.
func (d *Distribution) SpawnNamed(ctx context.Context, node, name, kind string) (*actor.PID, error) {
	if node == d.registry.Self().Name {
		return d.spawned(node, d.address, d.spawnHere(name, kind))
	}
	p := d.process(node)
	s, why := p.session()
	if s == nil {
		return nil, nodeError(node, why, nil)
	}
	id, w := d.spawns.open(s.Peer())
	defer d.spawns.end(id)
	if _, ok := ctx.Deadline(); !ok {
		c, cancel := context.WithTimeout(ctx, DefaultCallTimeout)
		defer cancel()
		ctx = c
	}
	retry := time.NewTicker(spawnRetry)
	defer retry.Stop()
	req := &messages.SpawnRequest{Id: id, Kind: kind, Name: name}
	for sent := false; ; {
		err := s.SendControl(req)
		switch {
		case err == nil:
			sent = true
		case reasonOf(err) != messages.ReasonUnreachable:
			return nil, nodeError(node, reasonOf(err), err)
		default:
			s.Open()
		}
		again := retry.C
		if err == nil {
			again = nil
		}
		select {
		case <-w.linked:
		case <-again:
		case r := <-w.result:
			if r == nil {
				return nil, nodeError(node, messages.ReasonNodeDown, nil)
			}
			return d.spawned(node, channelmgr.PIDAddress(s.Peer()), r)
		case <-ctx.Done():
			if !sent {
				return nil, nodeError(node, reasonOf(err), err)
			}
			return nil, &NodeError{Node: node, Reason: messages.ReasonTimeout, Err: fmt.Errorf("%w: spawning a %q: %w", ErrUnconfirmed, kind, ctx.Err())}
		}
	}
}

func (d *Distribution) spawned(node, address string, r *messages.SpawnReply) (*actor.PID, error) {
	var pid *actor.PID
	if id := r.GetActor(); id != "" {
		pid = &actor.PID{Address: address, Id: id}
	}
	switch r.GetError() {
	case "":
		return pid, nil
	case "unknown_kind":
		return nil, fmt.Errorf("%w: node %q does not spawn %s; it must call Register or WithKind", ErrUnknownKind, node, r.GetDetail())
	case "name_exists":
		return pid, fmt.Errorf("maquis: spawning on node %q: %w: %s", node, ErrNameExists, r.GetDetail())
	}
	return nil, &NodeError{Node: node, Reason: messages.ReasonInternal, Err: errors.New("spawning failed: " + r.GetDetail())}
}

// spawnHere spawns for another node. The id has the prefix of remotely spawned
// actors, so that it cannot take the place of a local one.
func (d *Distribution) spawnHere(name, kind string) (reply *messages.SpawnReply) {
	v, ok := d.kinds.Load(kind)
	if !ok {
		return &messages.SpawnReply{Error: "unknown_kind", Detail: fmt.Sprintf("%q", kind)}
	}
	defer func() {
		if r := recover(); r != nil {
			reply = &messages.SpawnReply{Error: "internal", Detail: fmt.Sprint(r)}
		}
	}()
	if name == "" {
		name = shortuuid.New() // never the name of an actor of an earlier life
	}
	pid, err := d.root.SpawnNamed(v.(*actor.Props), "remote/"+name)
	switch {
	case errors.Is(err, actor.ErrNameExists):
		return &messages.SpawnReply{Actor: "remote/" + name, Error: "name_exists", Detail: name}
	case err != nil:
		return &messages.SpawnReply{Error: "internal", Detail: err.Error()}
	}
	return &messages.SpawnReply{Actor: pid.Id}
}

// runtime is the actor that serves other nodes' runtimes.
type runtime struct {
	d     *Distribution
	timer *time.Timer
}

type pruneTick struct{}

// Receive implements actor.Actor.
func (r *runtime) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		r.d.registry.BindControl(c.Self())
		r.d.digestChannels() // what came over links before is gone
		r.arm(c.Self())
	case *actor.Stopping, *actor.Restarting:
		r.timer.Stop()
	case pruneTick:
		r.d.pending.prune(r.d)
		r.arm(c.Self())
	case *messages.ControlInbound:
		r.d.registry.ControlDone()
		r.onControl(m)
	}
}

func (r *runtime) arm(self *actor.PID) {
	root := r.d.root
	r.timer = time.AfterFunc(5*time.Second, func() { root.Send(self, pruneTick{}) })
}

func (r *runtime) onControl(in *messages.ControlInbound) {
	s := r.d.registry.Session(in.GetFrom().GetName())
	if s == nil || uint64(s.Peer().Incarnation) != in.GetFrom().GetIncarnation() {
		return
	}
	msg, err := messages.DecodeControl(in.GetType(), in.GetBody())
	if err != nil {
		r.d.counts.add("control_malformed")
		return
	}
	switch m := msg.(type) {
	case *messages.SpawnRequest:
		_ = s.SendControl(r.d.spawns.once(spawnKey{lifeOf(s.Peer()), m.GetId()}, func() *messages.SpawnReply {
			reply := r.d.spawnHere(m.GetName(), m.GetKind())
			reply.Id = m.GetId()
			return reply
		}))
	case *messages.SpawnReply:
		r.d.spawns.answered(s.Peer(), m)
	case *messages.ChannelDigest, *messages.ChannelNews:
		r.d.onChannels(s, m)
	case *messages.PlumLift:
		r.d.service.Lifted(s.Peer(), m)
	case *messages.WatchSync:
		r.d.watches.sync(s, m)
	default:
		if !r.d.groups.control(s, msg) {
			r.d.counts.add("control_unknown")
		}
	}
}
