package protoactor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"github.com/asynkron/protoactor-go/remote"

	maquis "github.com/maquis-go/maquis/actors"
)

// Provider is a cluster.ClusterProvider whose members are those of a
// Distribution on which the same cluster runs. It serves one cluster.
type Provider struct {
	d     *maquis.Distribution
	tags  decoder
	mu    sync.Mutex
	stop  context.CancelFunc // nil before Start… and after Shutdown
	known map[string]bool    // addresses of members that were told of
}

var _ cluster.ClusterProvider = (*Provider)(nil)

// New returns a provider of the members of d. Start the Distribution first.
func New(d *maquis.Distribution) *Provider {
	return &Provider{d: d, known: make(map[string]bool)}
}

// Remote returns the remote configuration to give to cluster.Configure: that of
// a remote that nobody dials. Of the options, only remote.WithKinds has an
// effect.
func Remote(d *maquis.Distribution, opts ...remote.ConfigOption) *remote.Config {
	return remote.Configure("127.0.0.1", 0, append(opts, remote.WithAdvertisedHost(d.Address()))...)
}

// StartMember implements cluster.ClusterProvider: this node becomes a member
// that grains may be placed on.
func (p *Provider) StartMember(c *cluster.Cluster) error {
	if err := p.begin(c); err != nil {
		return err
	}
	tag := newTag(c, p.d.Self().Generation)
	if err := p.d.SetTag(tagKey, tag.String()); err != nil {
		return fmt.Errorf("protoactor: announcing %d kinds: %w", len(tag.Kinds), err)
	}
	return p.follow(c, &tag)
}

// StartClient implements cluster.ClusterProvider: this node calls grains and
// has none. It still is a member of the Maquis cluster.
func (p *Provider) StartClient(c *cluster.Cluster) error {
	if err := p.begin(c); err != nil {
		return err
	}
	return p.follow(c, nil)
}

// Shutdown implements cluster.ClusterProvider: the other members place this
// node's grains elsewhere. The Distribution goes on.
func (p *Provider) Shutdown(bool) error {
	p.mu.Lock()
	stop := p.stop
	p.stop = nil
	p.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	if err := p.d.SetTag(tagKey, ""); err != nil && p.d.Err() == nil && !errors.Is(err, maquis.ErrStopped) {
		return err
	}
	return nil
}

// begin checks that cluster and Distribution belong together and takes the
// place of the cluster's remote.
func (p *Provider) begin(c *cluster.Cluster) error {
	system := c.ActorSystem
	if maquis.GetDistribution(system) != p.d {
		return errors.New("protoactor: the cluster runs on another actor system than the Distribution; give both the same one")
	}
	p.mu.Lock()
	started := p.stop != nil
	p.mu.Unlock()
	if started {
		return errors.New("protoactor: the provider serves a cluster already; make a new one by New")
	}
	c.Remote.Shutdown(true) // its endpoint manager too: it would dial whom an EndpointConnectedEvent names
	if was := system.ProcessRegistry.Address; was != p.d.Address() {
		c.Logger().Warn("the cluster's remote had an address of its own; configure it by protoactor.Remote",
			slog.String("address", was), slog.String("now", p.d.Address()))
		if err := p.d.AddAliases(was); err != nil {
			return err
		}
		system.ProcessRegistry.Address = p.d.Address()
	}
	// Published by disthash when a grain has stopped.
	p.d.AllowEvents(string((&cluster.ActivationTerminated{}).ProtoReflect().Descriptor().FullName()))
	if kinds := c.Config.RemoteConfig.Kinds; len(kinds) > 0 {
		if err := startActivator(system, kinds); err != nil {
			return err
		}
	}
	return nil
}

// settle is how long changes are gathered: a mass of joins is one topology.
const settle = 20 * time.Millisecond

// follow tells the cluster of its members now and on every change.
func (p *Provider) follow(c *cluster.Cluster, self *tag) error {
	ctx, cancel := context.WithCancel(context.Background())
	events := p.d.Events(ctx)
	if _, ok := <-events; !ok { // the Snapshot
		cancel()
		return maquis.ErrStopped
	}
	p.mu.Lock()
	p.stop = cancel
	p.mu.Unlock()
	p.update(c, self)
	go func() {
		defer cancel()
		for range events {
			for wait := time.After(settle); wait != nil; {
				select {
				case _, ok := <-events:
					if !ok {
						return
					}
				case <-wait:
					wait = nil
				}
			}
			if ctx.Err() == nil {
				p.update(c, self)
			}
		}
	}()
	return nil
}

// update tells the cluster of its members. self is nil on a client.
func (p *Provider) update(c *cluster.Cluster, self *tag) {
	members := make(cluster.Members, 0)
	me := p.d.Self()
	for _, m := range p.d.Members() {
		t, ok := p.tags.decode(m.Tags[tagKey])
		if m.Name == me.Name {
			if ok = self != nil; ok { // the tag may not have come round yet
				t, m = *self, me
			}
		}
		if ok && t.Cluster == c.Config.Name && m.Status != maquis.Leaving {
			members = append(members, t.member(m))
		}
	}
	connected := p.news(members, p.d.Address())
	for _, address := range connected {
		c.ActorSystem.EventStream.Publish(&remote.EndpointConnectedEvent{Address: address})
	}
	// Publishes the topology, and an EndpointTerminatedEvent for each who left.
	c.MemberList.UpdateClusterTopology(members)
}

// news returns the addresses that are new since it was called last.
func (p *Provider) news(members cluster.Members, self string) []string {
	now := make(map[string]bool, len(members))
	var list []string
	for _, m := range members {
		a := m.Address()
		now[a] = true
		if !p.known[a] && a != self {
			list = append(list, a)
		}
	}
	p.known = now
	return list
}

// activator spawns actors for remote.Spawn and remote.SpawnNamed of others, as
// protoactor's own does, which ends with the remote.
type activator struct{ kinds map[string]*actor.Props }

// activatorName is protoactor's.
const activatorName = "activator"

func startActivator(system *actor.ActorSystem, kinds map[string]*actor.Props) error {
	_, err := system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return &activator{kinds} }), activatorName)
	if err != nil {
		return fmt.Errorf("protoactor: the actor %q: %w", activatorName, err)
	}
	return nil
}

// Receive implements actor.Actor.
func (a *activator) Receive(c actor.Context) {
	msg, ok := c.Message().(*remote.ActorPidRequest)
	if !ok {
		return
	}
	props, ok := a.kinds[msg.Kind]
	if !ok {
		c.Respond(&remote.ActorPidResponse{StatusCode: remote.ResponseStatusCodeERROR.ToInt32()})
		return
	}
	name := msg.Name
	if name == "" {
		name = c.ActorSystem().ProcessRegistry.NextId()
	}
	pid, err := c.SpawnNamed(props, "Remote$"+name)
	switch {
	case errors.Is(err, actor.ErrNameExists):
		c.Respond(&remote.ActorPidResponse{Pid: pid, StatusCode: remote.ResponseStatusCodePROCESSNAMEALREADYEXIST.ToInt32()})
	case err != nil:
		c.Respond(&remote.ActorPidResponse{StatusCode: remote.ResponseStatusCodeERROR.ToInt32()})
	default:
		c.Respond(&remote.ActorPidResponse{Pid: pid, StatusCode: remote.ResponseStatusCodeOK.ToInt32()})
	}
}
