package libcluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/maquis-go/maquis/peerservice/discovery"
	"github.com/maquis-go/maquis/peerservice/discovery/introduce"
)

// Supervisor runs topologies: libcluster's Cluster.Supervisor. Its methods are
// safe for concurrent use.
type Supervisor struct {
	j    Joiner
	self discovery.Self
	ctx  context.Context
	stop context.CancelFunc

	mu    sync.Mutex
	runs  map[string]*run
	hooks map[int]func(Event)
	next  int
}

// run is a topology that runs.
type run struct {
	t    Topology
	in   *introduce.Introducer
	stop context.CancelFunc
	done chan struct{}
}

// Start runs topologies until Stop is called or ctx ends. Each asks its
// strategy for nodes and joins the cluster by some of them, for ever: a failed
// source or node is tried again, and does not touch other topologies. Start
// returns at once; that no node was found yet is no error.
//
// Strategies that announce this node (LocalEpmd, Gossip) need to know it: by
// discovery.WithSelf in ctx, or by a Joiner with a method DiscoverySelf.
func Start(ctx context.Context, j Joiner, t ...Topology) (*Supervisor, error) {
	if j == nil {
		return nil, errors.New("libcluster: the Joiner is nil")
	}
	s := &Supervisor{j: j, runs: make(map[string]*run), hooks: make(map[int]func(Event))}
	var ok bool
	if s.self, ok = discovery.SelfOf(ctx); !ok {
		if a, is := j.(announced); is {
			s.self = a.DiscoverySelf()
		}
	}
	if n, is := j.(named); is && s.self.Name == "" {
		s.self.Name = n.Name()
		if a, is := j.(addressed); is && len(s.self.Addrs) == 0 {
			s.self.Addrs = a.Addrs(s.self.Name) // they are not dialed
		}
	}
	s.ctx, s.stop = context.WithCancel(ctx)
	var errs []error
	seen := make(map[string]bool)
	for _, one := range t {
		errs = append(errs, one.Validate())
		if seen[one.Name] {
			errs = append(errs, fmt.Errorf("libcluster: two topologies are named %q", one.Name))
		}
		seen[one.Name] = true
	}
	if err := errors.Join(errs...); err != nil {
		s.stop()
		return nil, err
	}
	for _, one := range t {
		if err := s.Add(one); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// Add runs one more topology.
func (s *Supervisor) Add(t Topology) error {
	if err := t.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return errors.New("libcluster: the supervisor has stopped")
	}
	if s.runs[t.Name] != nil {
		return fmt.Errorf("libcluster: topology %q runs already; Remove it first", t.Name)
	}
	own := t.Telemetry
	t.Telemetry = func(e Event) {
		if own != nil {
			own(e)
		}
		s.publish(e)
	}
	t = t.Bind(s.j)
	names := &names{Strategy: t.Strategy}
	cfg := introduce.Config{
		Strategies: []discovery.Strategy{names}, Self: s.self, Prune: t.Prune,
		Members: func() []introduce.Member {
			var list []introduce.Member
			for _, n := range t.ListNodes() {
				m := introduce.Member{Name: n}
				if t.addrs != nil {
					m.Addrs = t.addrs(n)
				}
				list = append(list, m)
			}
			return list
		},
		Join: func(ctx context.Context, addr string) error { return t.connect(ctx, names.of(addr)) },
		OnGone: func(ctx context.Context, g introduce.Gone) {
			node := g.Node
			if node == "" {
				node = names.of(g.Addr)
			}
			_ = DisconnectNodes(ctx, t, node) // told of by telemetry
		},
	}
	in, err := introduce.New(cfg)
	if err != nil {
		return fmt.Errorf("libcluster: topology %s: %w", t.Name, err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	r := &run{t: t, in: in, stop: cancel, done: make(chan struct{})}
	s.runs[t.Name] = r
	go func() {
		defer close(r.done)
		in.Run(ctx)
	}()
	return nil
}

// Remove ends a topology and waits for it. Nodes that it found stay connected.
func (s *Supervisor) Remove(topology string) error {
	s.mu.Lock()
	r := s.runs[topology]
	all := slices.Sorted(maps.Keys(s.runs))
	delete(s.runs, topology)
	s.mu.Unlock()
	if r == nil {
		return unknownTopology(topology, all)
	}
	r.stop()
	<-r.done
	return nil
}

func unknownTopology(name string, all []string) error {
	if word := near(name, all); word != "" {
		return fmt.Errorf("libcluster: there is no topology %q; did you mean %q?", name, word)
	}
	return fmt.Errorf("libcluster: there is no topology %q; there are %q", name, all)
}

// Stop ends all topologies and waits for them. Nodes stay connected. Call it
// before the node leaves its cluster, lest it joins again.
func (s *Supervisor) Stop() {
	s.stop()
	s.mu.Lock()
	runs := slices.Collect(maps.Values(s.runs))
	s.mu.Unlock()
	for _, r := range runs {
		<-r.done
	}
}

// TopologyInfo is what Topologies says of one.
type TopologyInfo struct {
	Name     string
	Strategy string   // libcluster's name, or what the strategy says of itself
	Nodes    []string // the members, without this node, sorted
}

// Topologies lists those that run, by name.
func (s *Supervisor) Topologies() []TopologyInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []TopologyInfo
	for _, name := range slices.Sorted(maps.Keys(s.runs)) {
		t := s.runs[name].t
		kind := t.kind
		if kind == "" {
			kind = discovery.Describe(t.Strategy)
		}
		list = append(list, TopologyInfo{name, kind, t.nodes()})
	}
	return list
}

func (t Topology) nodes() []string {
	list := unique(t.ListNodes())
	return slices.DeleteFunc(list, func(n string) bool { return n == t.Self })
}

// get returns a run.
func (s *Supervisor) get(topology string) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.runs[topology]; r != nil {
		return r, nil
	}
	return nil, unknownTopology(topology, slices.Sorted(maps.Keys(s.runs)))
}

// Topology returns a topology that runs, with its functions, for ConnectNodes
// and DisconnectNodes.
func (s *Supervisor) Topology(name string) (Topology, error) {
	r, err := s.get(name)
	if err != nil {
		return Topology{}, err
	}
	return r.t, nil
}

// NodeList returns the nodes that a topology lists, without this node, sorted:
// by default all members.
func (s *Supervisor) NodeList(topology string) ([]string, error) {
	r, err := s.get(topology)
	if err != nil {
		return nil, err
	}
	return r.t.nodes(), nil
}

// Status returns what a topology's source says and how each candidate fares;
// its String explains.
func (s *Supervisor) Status(topology string) (introduce.Status, error) {
	r, err := s.get(topology)
	if err != nil {
		return introduce.Status{}, err
	}
	return r.in.Status(), nil
}

// Attach has f told of the events of all topologies, by several goroutines,
// until detach is called. f must not block.
func (s *Supervisor) Attach(f func(Event)) (detach func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	id := s.next
	s.hooks[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.hooks, id)
	}
}

func (s *Supervisor) publish(e Event) {
	s.mu.Lock()
	hooks := slices.Collect(maps.Values(s.hooks))
	s.mu.Unlock()
	for _, f := range hooks {
		f(e)
	}
}

// names is a strategy that remembers the names of candidates.
type names struct {
	discovery.Strategy
	mu     sync.Mutex
	byAddr map[string]string
}

// Validate implements the check of package discovery.
func (n *names) Validate() error { return discovery.Validate(n.Strategy) }
func (n *names) String() string  { return discovery.Describe(n.Strategy) }

// Run implements discovery.Strategy.
func (n *names) Run(ctx context.Context, emit func(discovery.Snapshot)) error {
	return n.Strategy.Run(ctx, func(s discovery.Snapshot) {
		n.mu.Lock()
		if s.OK() || n.byAddr == nil {
			n.byAddr = make(map[string]string)
		}
		for _, c := range s.Candidates {
			if c.Name != "" {
				n.byAddr[c.Addr] = c.Name + "@" + c.Addr
			}
		}
		n.mu.Unlock()
		emit(s)
	})
}

// of is the node at an address, "name@host:port" where the name is known.
func (n *names) of(addr string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name := n.byAddr[addr]; name != "" {
		return name
	}
	return addr
}
