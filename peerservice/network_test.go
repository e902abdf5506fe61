package peerservice

import (
	"context"
	"net"
	"sync"
	"syscall"

	"github.com/maquis-go/maquis/channelmgr/transport"
)

// network is a network in memory between named nodes that can be cut.
type network struct {
	memory *transport.Memory

	mu     sync.Mutex
	owners map[string]string  // address -> node
	cuts   map[[2]string]bool // unordered pairs
	conns  map[*cuttable]bool // open
	change chan struct{}      // closed when a cut heals
}

func newNetwork() *network {
	return &network{memory: transport.NewMemory(), owners: make(map[string]string), cuts: make(map[[2]string]bool),
		conns: make(map[*cuttable]bool), change: make(chan struct{})}
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// cut loses everything between two nodes, silently, until heal.
func (n *network) cut(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[pair(a, b)] = true
	for c := range n.conns {
		if pair(c.from, c.to) == pair(a, b) {
			c.holed = true
		}
	}
}

// heal ends all cuts. Connections that lost bytes are broken.
func (n *network) heal() {
	n.mu.Lock()
	clear(n.cuts)
	var broken []*cuttable
	for c := range n.conns {
		if c.holed {
			broken = append(broken, c)
		}
	}
	close(n.change)
	n.change = make(chan struct{})
	n.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

// breakLinks resets every connection between two nodes.
func (n *network) breakLinks(a, b string) {
	n.mu.Lock()
	var broken []*cuttable
	for c := range n.conns {
		if pair(c.from, c.to) == pair(a, b) {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

// node is the transport of one node.
func (n *network) node(name string) transport.Transport { return &endpoint{n, name} }

type endpoint struct {
	n    *network
	name string
}

func (e *endpoint) Name() string { return "cuttable" }

func (e *endpoint) Listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := e.n.memory.Listen(ctx, addr)
	if err == nil {
		e.n.mu.Lock()
		e.n.owners[ln.Addr().String()] = e.name
		e.n.mu.Unlock()
	}
	return ln, err
}

func (e *endpoint) Dial(ctx context.Context, addr string) (net.Conn, error) {
	e.n.mu.Lock()
	to := e.n.owners[addr]
	cut := e.n.cuts[pair(e.name, to)]
	e.n.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "cuttable", Err: syscall.ETIMEDOUT}
	}
	conn, err := e.n.memory.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := &cuttable{Conn: conn, n: e.n, from: e.name, to: to}
	e.n.mu.Lock()
	e.n.conns[c] = true
	e.n.mu.Unlock()
	return c, nil
}

// cuttable is the dialer's end of a connection. What passes it while the pair
// is cut is lost.
type cuttable struct {
	net.Conn
	n        *network
	from, to string
	holed    bool // under n.mu
}

func (c *cuttable) cut() bool {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return c.n.cuts[pair(c.from, c.to)]
}

func (c *cuttable) Write(p []byte) (int, error) {
	if c.cut() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// TryWrite implements transport.TryWriter.
func (c *cuttable) TryWrite(p []byte) (int, error) {
	if c.cut() {
		return len(p), nil
	}
	return c.Conn.(transport.TryWriter).TryWrite(p)
}

func (c *cuttable) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err == nil && c.cut() {
			continue
		}
		return n, err
	}
}

func (c *cuttable) Close() error {
	c.n.mu.Lock()
	delete(c.n.conns, c)
	c.n.mu.Unlock()
	return c.Conn.Close()
}
