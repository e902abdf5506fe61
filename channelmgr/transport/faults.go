package transport

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Faults injects faults into the connections between named nodes, whatever
// transport they run on. It behaves as a network does to TCP: nothing inside a
// connection is lost or reordered. A cut holds what is on its way, ends of
// connections too, and lets it pass when it is healed, if the ends are still
// there; a reset breaks connections at both ends. All methods are safe for
// concurrent use and take effect at once on open connections. It works under
// testing/synctest.
//
// A connection has its faults at the end that dialed it. Nodes in several
// processes have a Faults each: Place tells it where the others listen, and
// what is done to two nodes is done in the processes of both.
type Faults struct {
	mu     sync.Mutex
	dice   *rand.Rand
	owners map[string]string       // listening address -> node
	ways   map[[2]string]way       // from, to
	free   map[[2]string]time.Time // when the last byte on a way with a rate has left
	conns  map[*faulty]bool
	change chan struct{} // closed and replaced on every change of ways
}

// way is the state of one direction between two nodes.
type way struct {
	cut  bool
	link Link
}

// quantum is for how long what is read at once occupies a link with a rate, so
// that connections take turns on it.
const quantum = 10 * time.Millisecond

// most is how many bytes are read at once.
const most = 32 << 10

func (l Link) most() int {
	if l.Rate == 0 {
		return most
	}
	return min(max(int(int64(l.Rate)*int64(quantum)/int64(time.Second)), 1500), most)
}

// Link is how slow one direction between two nodes is. The zero value is a
// link without delay and limit.
type Link struct {
	Latency time.Duration // of each byte
	Jitter  time.Duration // at most so much more
	Rate    int           // bytes a second, of all connections together; 0 means without limit
	Corrupt float64       // the part of what is written in which a bit is turned over
	Loss    float64       // the part of what is written that is lost and sent again, after retransmit
}

// retransmit is how long the sender of what was lost waits before it sends it
// again, twice as long each time: Linux's least such time.
const retransmit = 200 * time.Millisecond

// NewFaults makes a network without faults. The seed decides the jitter.
func NewFaults(seed uint64) *Faults {
	return &Faults{dice: rand.New(rand.NewPCG(seed, 0)), owners: make(map[string]string),
		ways: make(map[[2]string]way), free: make(map[[2]string]time.Time), conns: make(map[*faulty]bool), change: make(chan struct{})}
}

// Node returns the transport of one node, over another that all nodes share.
func (f *Faults) Node(name string, over Transport) Transport { return &endpoint{f, name, over} }

// Place says where a node of another process listens.
func (f *Faults) Place(name, addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.owners[addr] = name
}

// Cut holds everything between two nodes. Dials over it end with their
// context.
func (f *Faults) Cut(a, b string) {
	f.CutOneWay(a, b)
	f.CutOneWay(b, a)
}

// CutOneWay holds everything from one node to another. Dials fail both ways,
// since their answers do not come.
func (f *Faults) CutOneWay(from, to string) {
	f.set(from, to, func(w *way) { w.cut = true })
}

// Slow gives one direction between two nodes a delay and a rate.
func (f *Faults) Slow(from, to string, l Link) {
	f.set(from, to, func(w *way) { w.link = l })
}

func (f *Faults) set(from, to string, change func(*way)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.ways[[2]string{from, to}]
	change(&w)
	f.ways[[2]string{from, to}] = w
	f.changed()
}

// changed wakes all that wait. mu is held.
func (f *Faults) changed() {
	close(f.change)
	f.change = make(chan struct{})
}

// Restore ends cuts and delays between two nodes.
func (f *Faults) Restore(a, b string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ways, [2]string{a, b})
	delete(f.ways, [2]string{b, a})
	f.changed()
}

// Heal ends all cuts and delays.
func (f *Faults) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.ways)
	f.changed()
}

// Reset breaks every connection between two nodes, at both ends.
func (f *Faults) Reset(a, b string) {
	f.mu.Lock()
	var broken []*faulty
	for c := range f.conns {
		if c.from == a && c.to == b || c.from == b && c.to == a {
			broken = append(broken, c)
		}
	}
	f.mu.Unlock()
	for _, c := range broken {
		c.reset()
	}
}

// way returns the state of a direction, and what is closed when any changes.
func (f *Faults) way(from, to string) (way, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ways[[2]string{from, to}], f.change
}

// endpoint is the transport of one node.
type endpoint struct {
	f    *Faults
	name string
	over Transport
}

// Name implements Transport.
func (e *endpoint) Name() string { return e.over.Name() }

// Listen implements Transport.
func (e *endpoint) Listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := e.over.Listen(ctx, addr)
	if err == nil {
		e.f.Place(e.name, ln.Addr().String())
	}
	return ln, err
}

// Dial implements Transport.
func (e *endpoint) Dial(ctx context.Context, addr string) (net.Conn, error) {
	e.f.mu.Lock()
	to := e.f.owners[addr]
	e.f.mu.Unlock()
	for {
		there, change := e.f.way(e.name, to)
		back, _ := e.f.way(to, e.name)
		if !there.cut && !back.cut {
			break
		}
		select {
		case <-change:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: e.Name(), Err: syscall.ETIMEDOUT}
		}
	}
	inner, err := e.over.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	near, far := pipePair(memAddr(inner.LocalAddr().String()), memAddr(inner.RemoteAddr().String()))
	c := &faulty{f: e.f, from: e.name, to: to, near: near, inner: inner, broken: make(chan struct{})}
	e.f.mu.Lock()
	e.f.conns[c] = true
	e.f.mu.Unlock()
	c.pumps.Add(2)
	go c.pump(far, inner, e.name, to)
	go c.pump(inner, far, to, e.name)
	go func() {
		c.pumps.Wait()
		_ = inner.Close()
		_ = far.Close()
		e.f.mu.Lock()
		delete(e.f.conns, c)
		e.f.mu.Unlock()
	}()
	return near, nil
}

// Goroutines is how many serve the connections that were dialed through the
// faults: five each.
func (f *Faults) Goroutines() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return 5 * len(f.conns)
}

// faulty is a connection through the faults: the dialer has one end of a pipe
// in memory, whose other end is pumped to and from the connection proper.
type faulty struct {
	f        *Faults
	from, to string
	near     *memConn
	inner    net.Conn
	pumps    sync.WaitGroup
	once     sync.Once
	broken   chan struct{}
}

// reset breaks the connection proper before anything else: once a pump sees the
// pipe broken, it would end the connection in good order.
func (c *faulty) reset() {
	c.once.Do(func() {
		switch inner := c.inner.(type) {
		case interface{ Abort() }:
			inner.Abort()
		case interface{ SetLinger(int) error }:
			_ = inner.SetLinger(0) // close with a reset
			_ = c.inner.Close()
		}
		close(c.broken)
		c.near.Abort()
	})
}

// parcel is what was read together, and when it arrives; an end of the stream
// has no bytes.
type parcel struct {
	b   []byte
	due time.Time
}

// pump carries one direction: what is read is delayed, held and passed on by a
// second goroutine, so that a delay does not limit the rate.
func (c *faulty) pump(src, dst net.Conn, from, to string) {
	defer c.pumps.Done()
	queue := make(chan parcel, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range queue {
			if !c.pass(p, dst, from, to) {
				_ = src.Close() // nothing can be passed on any more
				for range queue {
				}
				return
			}
		}
	}()
	room := make([]byte, most)
	for {
		w, _ := c.f.way(from, to)
		n, err := src.Read(room[:w.link.most()])
		b := bytes.Clone(room[:n]) // what is held takes no more than it is
		w, _ = c.f.way(from, to)
		left := c.f.leave(from, to, w.link, n)
		c.f.corrupt(w.link, b)
		queue <- parcel{b, left.Add(w.link.Latency + c.f.chance(w.link))}
		if err != nil {
			if n > 0 {
				queue <- parcel{due: left.Add(w.link.Latency)}
			}
			break
		}
		if !c.wait(left) { // others have their turn
			break
		}
	}
	close(queue)
	<-done
}

// leave puts n bytes on a link and returns when they have left.
func (f *Faults) leave(from, to string, l Link, n int) time.Time {
	now := time.Now()
	if l.Rate == 0 {
		return now
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	k := [2]string{from, to}
	if f.free[k].Before(now) {
		f.free[k] = now
	}
	f.free[k] = f.free[k].Add(time.Duration(n) * time.Second / time.Duration(l.Rate))
	return f.free[k]
}

// corrupt turns a bit over, perhaps.
func (f *Faults) corrupt(l Link, b []byte) {
	if l.Corrupt == 0 || len(b) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dice.Float64() < l.Corrupt {
		b[f.dice.IntN(len(b))] ^= 1 << f.dice.IntN(8)
	}
}

// wait waits until a time; false: the connection is broken.
func (c *faulty) wait(until time.Time) bool {
	d := time.Until(until)
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.broken:
		return false
	}
}

// chance is what jitter and loss add to a delay.
func (f *Faults) chance(l Link) (d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.Jitter > 0 {
		d = time.Duration(f.dice.Int64N(int64(l.Jitter)))
	}
	for again := retransmit; l.Loss > 0 && again < 5*time.Second && f.dice.Float64() < l.Loss; again *= 2 {
		d += again
	}
	return d
}

// pass hands a parcel on in its time. It reports false at the end of the
// stream.
func (c *faulty) pass(p parcel, dst net.Conn, from, to string) bool {
	if !c.wait(p.due) {
		return false
	}
	for {
		w, change := c.f.way(from, to)
		if !w.cut {
			break
		}
		select {
		case <-change:
		case <-c.broken:
			return false
		}
	}
	if len(p.b) > 0 {
		_, err := dst.Write(p.b)
		return err == nil
	}
	if half, ok := dst.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return false
	}
	_ = dst.Close()
	return false
}
