package actors

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/cespare/xxhash/v2"

	"github.com/maquis-go/maquis/actors/group"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
)

// Group is a process group, as Erlang's pg: a name under which actors of any
// nodes come together. Every node knows the members of every group, eventually
// the same as all nodes on its side. An actor leaves by itself when it stops, and
// all of a node's when that is gone. All methods are safe for concurrent use.
type Group struct {
	d    *Distribution
	name string
}

// Group returns the group of that name, which need not have members.
func (d *Distribution) Group(name string) *Group { return &Group{d, name} }

// Name returns the group's name.
func (g *Group) Name() string { return g.name }

// Join puts an actor of this node into the group, until it leaves or stops. An
// actor is in a group once, however often it joins. The other nodes hear of it
// within moments. It fails for an actor of another node, for one that does not
// live, for a name that is empty or longer than 255 bytes, when the actors of
// this node are in 131,072 groups together, and with ErrStopped.
func (g *Group) Join(pid *actor.PID) error {
	if g.d.stopped.Load() {
		return ErrStopped
	}
	if !g.d.isLocal(pid.Address) {
		return fmt.Errorf("maquis: group %q: %s is no actor of this node; it joins where it lives", g.name, pid)
	}
	if _, ok := g.d.system.ProcessRegistry.GetLocal(pid.Id); !ok {
		return fmt.Errorf("maquis: group %q: %w: %s", g.name, ErrDeadLetter, pid)
	}
	if err := g.d.groups.join(g.name, pid.Id); err != nil {
		return fmt.Errorf("maquis: group %q, actor %s: %w", g.name, pid, err)
	}
	return nil
}

// Leave takes an actor of this node out of the group. One that is not in it is
// left alone.
func (g *Group) Leave(pid *actor.PID) {
	if g.d.isLocal(pid.Address) {
		g.d.groups.leave(g.name, pid.Id)
	}
}

// Members returns the actors in the group, of all nodes, in the order of nodes
// and names. The slice is the caller's.
func (g *Group) Members() []*actor.PID { return clonePIDs(g.d.groups.view(g.name).members) }

// Local returns those of this node.
func (g *Group) Local() []*actor.PID { return clonePIDs(g.d.groups.view(g.name).local) }

func clonePIDs(list []*actor.PID) []*actor.PID {
	out := make([]*actor.PID, len(list))
	for i, p := range list {
		out[i] = &actor.PID{Address: p.Address, Id: p.Id}
	}
	return out
}

// Pick chooses a member by a key, or returns nil if there is none: nodes that
// know the same members choose the same one, and when a member comes or goes
// only the keys that it gains or had move (rendezvous hashing: Thaler,
// Ravishankar, 1996). Members on nodes that are leaving are not chosen.
func (g *Group) Pick(key string) *actor.PID {
	var best *actor.PID
	var most uint64
	for _, p := range g.d.groups.view(g.name).staying {
		h := xxhash.New()
		for _, s := range []string{key, p.Address, p.Id} {
			_, _ = h.WriteString(s)
			_, _ = h.Write([]byte{0})
		}
		if w := h.Sum64(); best == nil || w > most {
			best, most = p, w
		}
	}
	if best == nil {
		return nil
	}
	return &actor.PID{Address: best.Address, Id: best.Id}
}

// Publish sends a message to all members, with one network message for each
// node that has some, whatever their number. What one node publishes to a group
// on one channel arrives in order. Nodes that are leaving are passed over. An
// error tells of the nodes for which the message did not leave; those members
// that are on others get it.
func (g *Group) Publish(msg any, opts ...SendOption) error {
	if g.d.stopped.Load() {
		return ErrStopped
	}
	if _, err := g.d.types.Of(msg); err != nil {
		return &NodeError{Reason: messages.ReasonNoCodec, Err: err}
	}
	v := g.d.groups.view(g.name)
	var errs []error
	for _, address := range v.nodes {
		errs = append(errs, g.d.ForwardMessage(&actor.PID{Address: address, Id: groupID(g.name)}, msg, opts...))
	}
	return errors.Join(errs...)
}

// groupPrefix begins the id of the process that stands for a group's members of
// one node.
const groupPrefix = "group$"

func groupID(name string) string { return groupPrefix + name }

// groupProcess hands what is sent to a group on to its members here.
type groupProcess struct {
	d    *Distribution
	name string
}

var _ actor.Process = (*groupProcess)(nil)

// SendUserMessage implements actor.Process.
func (p *groupProcess) SendUserMessage(_ *actor.PID, message any) {
	local := p.d.groups.view(p.name).local
	if len(local) == 0 {
		p.d.counts.add("group_empty") // they left while it was on its way
	}
	for _, pid := range local {
		if proc, ok := p.d.system.ProcessRegistry.GetLocal(pid.Id); ok {
			proc.SendUserMessage(pid, message)
		}
	}
}

// SendSystemMessage implements actor.Process: a group is no actor, which can be
// watched or stopped.
func (p *groupProcess) SendSystemMessage(pid *actor.PID, message any) {
	if w, ok := message.(*actor.Watch); ok && w.Watcher != nil {
		if proc, ok := p.d.system.ProcessRegistry.Get(w.Watcher); ok {
			proc.SendSystemMessage(w.Watcher, &actor.Terminated{Who: pid, Why: actor.TerminatedReason_NotFound})
		}
	}
}

// Stop implements actor.Process.
func (p *groupProcess) Stop(*actor.PID) {}

// groupView is a group at one moment. It is immutable.
type groupView struct {
	members []*actor.PID
	local   []*actor.PID
	staying []*actor.PID // on nodes that are not leaving
	nodes   []string     // their addresses
}

// pids makes the PIDs of members, of whom some may just have ceased to be.
func (g *groups) pids(list []group.Member) []*actor.PID {
	var out []*actor.PID
	for _, m := range list {
		if address := g.address(m); address != "" {
			out = append(out, &actor.PID{Address: address, Id: m.Actor})
		}
	}
	return out
}

func (g *groups) address(m group.Member) string {
	if m.Life == g.self {
		return g.d.address
	}
	k, ok := g.d.service.Lookup(m.Life.Name)
	if !ok || k.Peer.Life() != m.Life {
		return ""
	}
	return channelmgr.PIDAddress(k.Peer)
}

// view returns a group's view, made when it is asked for after a change.
func (g *groups) view(name string) *groupView {
	if v, ok := g.views.Load(name); ok {
		return v.(*groupView)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v := &groupView{}
	leaving := make(map[string]bool) // by address
	for _, m := range g.book.Members(name) {
		address := g.address(m)
		if address == "" {
			continue
		}
		pid := &actor.PID{Address: address, Id: m.Actor}
		v.members = append(v.members, pid)
		if m.Life == g.self {
			v.local = append(v.local, pid)
		}
		gone, seen := leaving[address]
		if !seen {
			k, _ := g.d.service.Lookup(m.Life.Name)
			gone = k.Leaving
			leaving[address] = gone
			if !gone {
				v.nodes = append(v.nodes, address)
			}
		}
		if !gone {
			v.staying = append(v.staying, pid)
		}
	}
	if len(v.members) > 0 { // others are cheap to make, and their names are anybody's
		g.views.Store(name, v)
	}
	return v
}
