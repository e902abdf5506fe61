package actors

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/extensions"

	"github.com/maquis-go/maquis/actors/config"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
	"github.com/maquis-go/maquis/peerservice"
)

// Distribution joins an actor system to a cluster. It is the Distribution
// module of the seed design in Go. All methods are safe for concurrent use.
type Distribution struct {
	system   *actor.ActorSystem
	root     *actor.RootContext // without the application's middleware
	opts     options
	code     options // as the application gave them, for Reload
	registry *channelmgr.Registry
	service  *peerservice.Service
	address  string

	processes sync.Map                        // address -> *process
	aliases   atomic.Pointer[map[string]bool] // never changed once it is there
	tags      tags
	events    atomic.Pointer[map[string]bool] // types that others may publish here
	watches   *watches
	groups    *groups

	introduction introduction
	pending      pending
	calls        calls
	kinds        sync.Map // kind -> *actor.Props
	expected     atomic.Int64
	security     *handshake.Security
	reloading    sync.Mutex
	config       *config.Config // what runs; guarded by reloading
	counts       counts
	spawns       spawns
	drifts       drifts
	types        *messages.Registry
	subs         subscribers
	castOrders   sync.Map // channel -> *castOrder

	began   time.Time
	seq     atomic.Uint64
	stopped atomic.Bool
	stop    sync.Once
	done    chan struct{}
	failure atomic.Pointer[error]
	ctx     context.Context
	cancel  context.CancelFunc
	pumps   sync.WaitGroup
}

var extensionID = extensions.NextExtensionID()

// ExtensionID makes a Distribution findable in its actor system.
func (d *Distribution) ExtensionID() extensions.ExtensionID { return extensionID }

// GetDistribution returns the Distribution that was started on a system, or
// nil.
func GetDistribution(system *actor.ActorSystem) *Distribution {
	d, _ := system.Extensions.Get(extensionID).(*Distribution)
	return d
}

// Start listens, takes over the PIDs of other nodes, and begins to call the
// seeds in the background. It returns when this node can be reached, not when
// it has peers. It must be called once per system and before the first Spawn,
// since PIDs keep the address that they were made with. ctx bounds Start only.
func Start(ctx context.Context, system *actor.ActorSystem, opts ...Option) (*Distribution, error) {
	code, err := collect(opts)
	if err != nil {
		return nil, err
	}
	o, conf, err := code.configured()
	if err != nil {
		return nil, err
	}
	if GetDistribution(system) != nil {
		return nil, errors.New("maquis: this actor system was started already")
	}
	if early := spawnedEarly(system); len(early) > 0 {
		return nil, fmt.Errorf("maquis: actors were spawned before Start and could not be reached from other nodes: %s; call Start first", strings.Join(early, ", "))
	}
	d := &Distribution{system: system, opts: o, code: code, config: conf, began: time.Now(), done: make(chan struct{})}
	d.root = actor.NewRootContext(system, nil)
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if err := d.listen(ctx); err != nil {
		d.cancel()
		return nil, err
	}
	if err := d.run(ctx); err != nil {
		d.cancel()
		d.registry.Close()
		return nil, err
	}
	return d, nil
}

// spawnedEarly lists actors of the application.
func spawnedEarly(system *actor.ActorSystem) []string {
	var ids []string
	for _, bucket := range system.ProcessRegistry.LocalPIDs.LocalPIDs {
		bucket.IterCb(func(id string, p any) {
			if _, isActor := p.(*actor.ActorProcess); isActor {
				ids = append(ids, id)
			}
		})
	}
	sort.Strings(ids)
	if len(ids) > 8 {
		ids = append(ids[:8], "…")
	}
	return ids
}

func newIncarnation() (overlay.Incarnation, error) {
	var b [8]byte
	if _, err := crand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("maquis: no randomness: %w", err)
	}
	return overlay.Incarnation(binary.LittleEndian.Uint64(b[:]) | 1), nil
}

// listen makes the registry on the first address that can be bound.
func (d *Distribution) listen(ctx context.Context) error {
	o := &d.opts
	inc, err := newIncarnation()
	if err != nil {
		return err
	}
	addrs := o.ports
	if len(addrs) == 0 {
		addrs = []string{o.listen}
	}
	d.types = messages.NewRegistry(o.codecs...)
	d.subs.m = make(map[string][]*actor.PID)
	for _, addr := range addrs {
		name := o.name
		if strings.HasSuffix(name, "-") { // the port belongs to the name: find it first
			_, port, _ := net.SplitHostPort(addr)
			if port == "0" {
				ln, lerr := o.transport.Listen(ctx, addr)
				if lerr != nil {
					return fmt.Errorf("maquis: listen on %q: %w", addr, lerr)
				}
				_, port, _ = net.SplitHostPort(ln.Addr().String())
				addr = ln.Addr().String()
				_ = ln.Close()
			}
			name += port
		}
		sc := o.security
		sc.Cluster, sc.Node = o.cluster, name
		sec, serr := handshake.NewSecurity(sc)
		if serr != nil {
			return serr
		}
		d.security = sec
		advertise := o.advertise
		if host, port, _ := net.SplitHostPort(addr); len(advertise) == 0 && (host == "" || net.ParseIP(host).IsUnspecified()) {
			ip, ierr := o.ownIP()
			if ierr != nil {
				return fmt.Errorf("maquis: listening on %q: %w; set node.advertise or WithAdvertise", addr, ierr)
			}
			advertise = []string{net.JoinHostPort(ip, port)}
		}
		d.registry, err = channelmgr.New(channelmgr.Config{
			System: d.system, Self: overlay.Peer{Name: name, Incarnation: inc}, Cluster: o.cluster, Security: sec,
			Transport: o.transport, Listen: addr, Advertise: advertise, Channels: o.channels, Overlays: peerservice.OverlayIDs(o.overlays), Rules: o.rules,
			Types: d.types, Routing: *o.routing, Shortcuts: o.shortcuts, MaxHops: o.hops, Limits: o.limits, Timing: o.timing, ShortQueues: o.short, Logger: o.logger,
		})
		if err != nil {
			return err
		}
		if err = d.registry.Listen(ctx); err == nil {
			return nil
		}
		d.registry.Close()
	}
	return err
}

// outboundIP is an address of this host that others may reach. Nothing is
// sent: the kernel only picks a route.
func outboundIP() (string, error) {
	ifaces, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	loopback := ""
	for _, a := range ifaces {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil {
			continue
		}
		if n.IP.IsLoopback() {
			loopback = n.IP.String()
			continue
		}
		return n.IP.String(), nil
	}
	if loopback == "" {
		return "", errors.New("this host has no IPv4 address")
	}
	return loopback, nil
}

// run wires everything and starts the actors.
func (d *Distribution) run(ctx context.Context) error {
	o := &d.opts
	self := d.registry.Self()
	d.address = d.registry.Address()
	local := map[string]bool{}
	for _, a := range append(slices.Concat(o.aliases, o.advertise), self.Addr, self.Name, "nonhost") {
		local[a] = true
	}
	d.aliases.Store(&local)
	d.tags.init(o.tags, o.aliases)
	for kind, props := range o.kinds {
		d.kinds.Store(kind, props)
	}
	d.watches = newWatches(d)
	d.groups = newGroups(d)
	d.expected.Store(int64(o.expected))
	d.pending.init()
	d.calls.init()
	d.spawns.init()
	d.registry.SetReceiver(receiver{d})
	d.registry.SetIntercept(o.intercept)
	d.registry.SetSenderBinder(d.bindSender)
	d.system.ProcessRegistry.Address = d.address
	d.system.ProcessRegistry.RegisterAddressResolver(d.resolve)
	rec := roster.Record{Addrs: o.advertise, Tags: d.tags.all(), Kinds: slices.Sorted(maps.Keys(o.kinds)), AppVersion: o.version}
	var err error
	d.service, err = peerservice.Start(ctx, peerservice.Config{
		System: d.system, Registry: d.registry, Record: rec, Preset: presets[o.preset], Overlays: o.overlays, MaxHops: o.hops, Seeds: o.seeds,
		Parts: []peerservice.Part{
			{Name: "runtime", Props: actor.PropsFromProducer(func() actor.Actor { return &runtime{d: d} })},
			{Name: groupsPart, Props: actor.PropsFromProducer(func() actor.Actor { return &teller{g: d.groups} })},
		},
		OnNodeGone: d.nodeGone, OnLink: d.linked, OnBroadcast: d.broadcast, OnFail: d.fail, Logger: o.logger,
	})
	if err != nil {
		return err
	}
	d.registry.SetOnRelease(func(r channelmgr.Release) { d.service.Note(release(r)) })
	d.registry.SetOnStall(func(st channelmgr.Stall) { d.service.Note(stall(st)) })
	d.system.Extensions.Register(d)
	d.pump(d.publishEvents)
	d.registry.SetOnChannel(func(c channelmgr.ChannelChange) { d.service.Note(channelNote(c)) })
	d.groups.ready.Store(true)
	d.pump(d.groups.follow)
	if err := d.introduce(); err != nil {
		d.service.Stop()
		return err
	}
	return nil
}

// fail ends the node visibly.
func (d *Distribution) fail(err error) {
	d.opts.logger.Error("the runtime cannot go on", "error", err)
	d.failure.Store(&err)
	go func() { _ = d.close() }()
}

// linked: a link to a peer is up.
func (d *Distribution) linked(p overlay.Peer) {
	d.watches.linked(p)
	d.spawns.linked(p)
	d.groups.tell(groupLinked{p.Name})
	d.compareChannels(p)
}

// nodeGone ends what waits for a life of a node.
func (d *Distribution) nodeGone(p overlay.Peer, _ messages.Reason) {
	d.watches.gone(p)
	d.pending.gone(d, p)
	d.calls.gone(p)
	d.spawns.gone(p)
}

// pump runs f in a goroutine that Stop waits for.
func (d *Distribution) pump(f func()) {
	d.pumps.Add(1)
	go func() {
		defer d.pumps.Done()
		f()
	}()
}

// Join calls contacts, "host:port", until one has let this node in and told it
// the members. An error is a *JoinError with a reason per contact; the contacts
// are called on in the background.
func (d *Distribution) Join(ctx context.Context, contacts ...string) error {
	if d.stopped.Load() {
		return ErrStopped
	}
	for _, c := range contacts {
		if err := checkContact(c); err != nil {
			return err
		}
	}
	if err := d.introduce(); err != nil { // Leave has ended it
		return err
	}
	return joinError(d.service.Join(ctx, contacts))
}

func joinError(err error) error {
	var je *peerservice.JoinError
	if !errors.As(err, &je) {
		return err
	}
	out := &JoinError{}
	for _, c := range je.Contacts {
		out.Contacts = append(out.Contacts, ContactError{Contact: c.Contact, Reason: c.Reason, Err: sentinel(c.Reason)})
	}
	return out
}

// Leave calls the drain hook, says farewell to all members and waits until
// what was queued is on its way. The node can still be sent to until Stop.
func (d *Distribution) Leave(ctx context.Context) error {
	if d.stopped.Load() {
		return ErrStopped
	}
	var derr error
	d.introduction.end() // it is not to join again
	if d.opts.drain != nil {
		if derr = d.service.SetLeaving(ctx, true); derr == nil { // nobody is to spawn or pick here any more
			derr = d.opts.drain(ctx)
		}
	}
	return errors.Join(derr, d.registry.Drain(ctx), d.service.Leave(ctx))
}

// Stop leaves in order and closes; when ctx ends first, it closes at once. The
// actor system lives on, local actors are not touched. Later calls wait for
// the first.
func (d *Distribution) Stop(ctx context.Context) error {
	var err error
	first := false
	d.stop.Do(func() {
		first = true
		if d.failure.Load() == nil {
			err = d.Leave(ctx)
		}
		err = errors.Join(err, d.close())
	})
	if !first {
		select {
		case <-d.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// Kill ends the node at once and without a word, as the end of its process
// would: for tests of what others make of that. The actor system lives on.
func (d *Distribution) Kill() { _ = d.close() }

// close ends everything at once.
func (d *Distribution) close() error {
	if !d.stopped.CompareAndSwap(false, true) {
		<-d.done
		return nil
	}
	d.registry.Close()
	d.service.Stop()
	d.watches.stop()
	d.calls.stop()
	d.cancel()
	d.pumps.Wait()
	close(d.done)
	return nil
}

// Done is closed when the node has stopped, or failed: then Err says why.
func (d *Distribution) Done() <-chan struct{} { return d.done }

// Err returns why the node failed, or nil.
func (d *Distribution) Err() error {
	if e := d.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// ForceLeave declares a member that is down gone, for all.
func (d *Distribution) ForceLeave(ctx context.Context, node string) error {
	return d.service.ForceLeave(ctx, node)
}

// Disconnect drops the links to a member and dials it no more; it stays a
// member as long as others have links to it.
func (d *Distribution) Disconnect(ctx context.Context, node string) error {
	return d.service.Disconnect(ctx, node)
}
