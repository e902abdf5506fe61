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

// spawns are the requests to spawn elsewhere that wait for their answer.
type spawns struct {
	mu   sync.Mutex
	next uint64
	m    map[uint64]*spawnWait
}

type spawnWait struct {
	life   watch.Life
	result chan *messages.SpawnReply
}

func (s *spawns) init() { s.m = make(map[uint64]*spawnWait) }

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

// Spawn spawns an actor of a kind on a node, which must have registered it.
func (d *Distribution) Spawn(ctx context.Context, node, kind string) (*actor.PID, error) {
	return d.SpawnNamed(ctx, node, "", kind)
}

// SpawnNamed is Spawn with a name. If the name is taken there, the error wraps
// ErrNameExists and the PID is that of the actor that has it.
func (d *Distribution) SpawnNamed(ctx context.Context, node, name, kind string) (*actor.PID, error) {
	if node == d.registry.Self().Name {
		id, problem, detail := d.spawnHere(name, kind)
		return d.spawned(node, d.address, id, problem, detail)
	}
	p := d.process(node)
	s, why := p.session()
	if s == nil {
		return nil, nodeError(node, why, nil)
	}
	w := &spawnWait{life: lifeOf(s.Peer()), result: make(chan *messages.SpawnReply, 1)}
	d.spawns.mu.Lock()
	d.spawns.next++
	id := d.spawns.next
	d.spawns.m[id] = w
	d.spawns.mu.Unlock()
	defer func() {
		d.spawns.mu.Lock()
		delete(d.spawns.m, id)
		d.spawns.mu.Unlock()
	}()
	if err := s.SendControl(&messages.SpawnRequest{Id: id, Kind: kind, Name: name}); err != nil {
		return nil, nodeError(node, reasonOf(err), err)
	}
	timer := time.NewTimer(DefaultCallTimeout)
	defer timer.Stop()
	select {
	case r := <-w.result:
		if r == nil {
			return nil, nodeError(node, messages.ReasonNodeDown, nil)
		}
		return d.spawned(node, channelmgr.PIDAddress(s.Peer()), r.GetActor(), r.GetError(), r.GetDetail())
	case <-timer.C:
		return nil, &NodeError{Node: node, Reason: messages.ReasonTimeout, Err: fmt.Errorf("%w: spawning a %q", ErrUnconfirmed, kind)}
	case <-ctx.Done():
		return nil, &NodeError{Node: node, Reason: messages.ReasonTimeout, Err: fmt.Errorf("%w: spawning a %q: %w", ErrUnconfirmed, kind, ctx.Err())}
	}
}

func (d *Distribution) spawned(node, address, id, problem, detail string) (*actor.PID, error) {
	var pid *actor.PID
	if id != "" {
		pid = &actor.PID{Address: address, Id: id}
	}
	switch problem {
	case "":
		return pid, nil
	case "unknown_kind":
		return nil, fmt.Errorf("%w: node %q does not spawn %s; it must call Register or WithKind", ErrUnknownKind, node, detail)
	case "name_exists":
		return pid, fmt.Errorf("maquis: spawning on node %q: %w: %s", node, ErrNameExists, detail)
	}
	return nil, &NodeError{Node: node, Reason: messages.ReasonInternal, Err: errors.New("spawning failed: " + detail)}
}

// spawnHere spawns for another node. The id has the prefix of remotely spawned
// actors, so that it cannot take the place of a local one.
func (d *Distribution) spawnHere(name, kind string) (id, problem, detail string) {
	v, ok := d.kinds.Load(kind)
	if !ok {
		return "", "unknown_kind", fmt.Sprintf("%q", kind)
	}
	defer func() {
		if r := recover(); r != nil {
			id, problem, detail = "", "internal", fmt.Sprint(r)
		}
	}()
	if name == "" {
		name = shortuuid.New() // never the name of an actor of an earlier life
	}
	pid, err := d.root.SpawnNamed(v.(*actor.Props), "remote/"+name)
	switch {
	case errors.Is(err, actor.ErrNameExists):
		return "remote/" + name, "name_exists", name
	case err != nil:
		return "", "internal", err.Error()
	}
	return pid.Id, "", ""
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
		id, problem, detail := r.d.spawnHere(m.GetName(), m.GetKind())
		_ = s.SendControl(&messages.SpawnReply{Id: m.GetId(), Actor: id, Error: problem, Detail: detail})
	case *messages.SpawnReply:
		r.d.spawns.mu.Lock()
		w := r.d.spawns.m[m.GetId()]
		if w != nil && w.life == lifeOf(s.Peer()) {
			delete(r.d.spawns.m, m.GetId())
			w.result <- m
		}
		r.d.spawns.mu.Unlock()
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
