package libcluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/maquis-go/maquis/peerservice/discovery"
	"github.com/maquis-go/maquis/peerservice/discovery/introduce"
)

// Joiner is the cluster that topologies connect this node to; a
// *maquis.Distribution is one.
type Joiner interface {
	Join(ctx context.Context, contacts ...string) error
	Disconnect(ctx context.Context, node string) error
	NodeList() []string // the names of all members, this node's among them
}

// What a Joiner may say besides.
type (
	named     interface{ Name() string }                  // this node's name
	addressed interface{ Addrs(node string) []string }    // of a member
	announced interface{ DiscoverySelf() discovery.Self } // for strategies that announce
)

// Topology is a source of nodes and what is done with them: an entry of
// libcluster's topologies.
type Topology struct {
	Name     string
	Strategy discovery.Strategy

	// Connect, Disconnect and ListNodes are libcluster's connect, disconnect
	// and list_nodes; nil stands for the Joiner's. Connect and Disconnect
	// return ErrIgnored for :ignored, and Disconnect ErrAlreadyDisconnected for
	// false. Calls may overlap. ListNodes may name this node.
	Connect, Disconnect func(ctx context.Context, node string) error
	ListNodes           func() []string

	// Prune says when a node that the source names no more is disconnected.
	// Never is the default; introduce.PruneImmediately is libcluster's way.
	Prune introduce.Prune
	// Port is that of nodes whose names have none: discovery.DefaultPort.
	Port int
	// Self is this node's name, which is neither connected nor disconnected.
	Self string
	// Telemetry is told of every attempt, by several goroutines.
	Telemetry func(Event)

	kind  string // libcluster's name of the strategy
	addrs func(node string) []string
}

// Bind returns the topology with the Joiner's functions where it has none.
func (t Topology) Bind(j Joiner) Topology {
	if t.Connect == nil {
		t.Connect = func(ctx context.Context, node string) error {
			addr, err := Contact(node, t.Port)
			if err != nil {
				return err
			}
			if err := j.Join(ctx, addr); err != nil {
				return err
			}
			return arrived(ctx, j, addr)
		}
	}
	if t.Disconnect == nil {
		t.Disconnect = j.Disconnect
	}
	if t.ListNodes == nil {
		t.ListNodes = j.NodeList
		if a, ok := j.(addressed); ok {
			t.addrs = a.Addrs
		}
	}
	if n, ok := j.(named); ok && t.Self == "" {
		t.Self = n.Name()
	}
	return t
}

// arrival is how long the member at an address may take to be known after a
// Join has returned: it may have returned for another contact.
const arrival = 2 * time.Second

// arrived waits until a member has an address, where the Joiner tells
// addresses. Names are resolved, since members mostly advertise IP addresses.
func arrived(ctx context.Context, j Joiner, addr string) error {
	a, ok := j.(addressed)
	if !ok {
		return nil
	}
	is := map[string]bool{addr: true}
	if host, port, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host) == nil {
		ips, _ := net.DefaultResolver.LookupHost(ctx, host)
		for _, ip := range ips {
			is[net.JoinHostPort(ip, port)] = true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	for {
		for _, n := range j.NodeList() {
			if slices.ContainsFunc(a.Addrs(n), func(b string) bool { return is[b] }) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("this node has joined, but no member says that it is at %s", addr)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Validate reports a missing name and what is wrong with the strategy.
func (t Topology) Validate() error {
	if t.Name == "" {
		return errors.New("libcluster: a topology has no name")
	}
	if err := discovery.Validate(t.Strategy); err != nil {
		return fmt.Errorf("libcluster: topology %s: %w", t.Name, err)
	}
	return nil
}

// BadNodes is the error of nodes that could not be connected or disconnected.
type BadNodes struct {
	Topology string
	Nodes    map[string]error // by name: why
}

func (b *BadNodes) Error() string {
	var parts []string
	for _, n := range slices.Sorted(maps.Keys(b.Nodes)) {
		parts = append(parts, n+": "+b.Nodes[n].Error())
	}
	return fmt.Sprintf("libcluster: topology %s: %s", b.Topology, strings.Join(parts, "; "))
}

// Unwrap returns the reasons, for errors.Is.
func (b *BadNodes) Unwrap() []error { return slices.Collect(maps.Values(b.Nodes)) }

// Bounds of ConnectNodes and DisconnectNodes. Our choice.
const (
	parallel = 8                // attempts at once; libcluster makes one
	attempt  = 10 * time.Second // for each
)

// ConnectNodes connects this node to those that it is not connected to yet:
// t.ListNodes says which. It returns nil or a *BadNodes that says why which
// could not be connected: ErrUnreachable, with its cause, or
// ErrNotPartOfNetwork. A topology needs its functions: use one of a Supervisor,
// or Bind.
func ConnectNodes(ctx context.Context, t Topology, nodes ...string) error {
	if t.Connect == nil || t.ListNodes == nil {
		return fmt.Errorf("libcluster: topology %s has no Connect or ListNodes: take it from a Supervisor, or Bind it to a Joiner", t.Name)
	}
	there := t.connected()
	var todo []string
	for _, n := range unique(nodes) {
		if !there.has(n) && n != t.Self {
			todo = append(todo, n)
		}
	}
	return t.each(ctx, todo, t.connect)
}

// connect makes one attempt and tells of it.
func (t Topology) connect(ctx context.Context, node string) error {
	began := time.Now()
	err := t.Connect(ctx, node)
	switch {
	case err == nil:
		t.tell(ConnectNodeOK, node, began, nil)
		return nil
	case errors.Is(err, ErrIgnored) || errors.Is(err, ErrNotPartOfNetwork):
		err = ErrNotPartOfNetwork
	case !errors.Is(err, ErrUnreachable):
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	t.tell(ConnectNodeError, node, began, err)
	return err
}

// DisconnectNodes disconnects this node from those of nodes that it is
// connected to. One that was not connected any more, or is ignored, is no
// failure. It returns nil or a *BadNodes.
func DisconnectNodes(ctx context.Context, t Topology, nodes ...string) error {
	if t.Disconnect == nil || t.ListNodes == nil {
		return fmt.Errorf("libcluster: topology %s has no Disconnect or ListNodes: take it from a Supervisor, or Bind it to a Joiner", t.Name)
	}
	there := t.connected()
	var todo []string
	for _, n := range unique(nodes) {
		if name, ok := there.name(n); ok && name != t.Self && n != t.Self {
			todo = append(todo, name)
		}
	}
	return t.each(ctx, unique(todo), t.disconnect)
}

func (t Topology) disconnect(ctx context.Context, node string) error {
	began := time.Now()
	err := t.Disconnect(ctx, node)
	switch {
	case err == nil:
		t.tell(DisconnectNodeOK, node, began, nil)
		return nil
	case errors.Is(err, ErrAlreadyDisconnected):
		t.tell(DisconnectNodeError, node, began, ErrAlreadyDisconnected)
		return nil
	case errors.Is(err, ErrIgnored) || errors.Is(err, ErrNotPartOfNetwork):
		t.tell(DisconnectNodeError, node, began, ErrNotPartOfNetwork)
		return nil
	}
	t.tell(DisconnectNodeError, node, began, err)
	return err
}

// each calls f for all nodes, some at once, and gathers what fails.
func (t Topology) each(ctx context.Context, nodes []string, f func(context.Context, string) error) error {
	bad := &BadNodes{Topology: t.Name, Nodes: make(map[string]error)}
	var mu sync.Mutex
	var wg sync.WaitGroup
	room := make(chan struct{}, parallel)
	for _, n := range nodes {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			ctx, cancel := context.WithTimeout(ctx, attempt)
			defer cancel()
			if err := f(ctx, n); err != nil {
				mu.Lock()
				defer mu.Unlock()
				bad.Nodes[n] = err
			}
		})
	}
	wg.Wait()
	if len(bad.Nodes) > 0 {
		return bad
	}
	return nil
}

// connectedSet is what ListNodes says, by name and by address.
type connectedSet struct {
	port   int
	byAddr map[string]string
	names  map[string]bool
}

func (t Topology) connected() connectedSet {
	s := connectedSet{t.Port, make(map[string]string), make(map[string]bool)}
	for _, n := range t.ListNodes() {
		s.names[n] = true
		if t.addrs != nil {
			for _, a := range t.addrs(n) {
				s.byAddr[a] = n
			}
		}
	}
	return s
}

// name is the name by which a node is known.
func (s connectedSet) name(node string) (string, bool) {
	if s.names[node] {
		return node, true
	}
	addr, err := Contact(node, s.port)
	if err != nil {
		return "", false
	}
	name, ok := s.byAddr[addr]
	return name, ok
}

func (s connectedSet) has(node string) bool {
	_, ok := s.name(node)
	return ok
}

func unique(list []string) []string {
	list = slices.Sorted(slices.Values(list))
	return slices.Compact(list)
}
