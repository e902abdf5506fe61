package channelmgr

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/maquis-go/maquis/channelmgr/circuit"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Bounds of circuits, our choice.
const (
	maxCircuits = 8192            // of a node
	lingerFor   = 5 * time.Second // for what was written before a Close
	wantEvery   = 500 * time.Millisecond
	dialFirst   = time.Second // what a link may take to be there before a search
)

// circuits are the circuits that end here.
type circuits struct {
	mu      sync.Mutex
	m       map[circuitKey]*circuitConn
	opening map[uint64]life // attempts to open sessions over circuits, by link, from the order to the end

	// dials has a slot for each handshake that this node begins over a circuit: half
	// of those that may be in progress, so that others find room for theirs.
	dials chan struct{}
}

// circuitKey names a circuit at an end.
type circuitKey struct {
	peer life
	id   uint64
}

// circuitConn is the end of a circuit, as a connection. One goroutine may read
// and one may write at a time.
type circuitConn struct {
	r       *Registry
	peer    overlay.Peer
	id      uint64
	control bool

	mu     sync.Mutex
	trial  bool // until its handshake is done it is given up rather than search a way
	lost   bool // a segment found no way
	direct bool // the peer's last segment came over a link of its own
	end    *circuit.End
	timer  *time.Timer
	armed  overlay.Time // when the timer fires next
	closed bool
	linger overlay.Time
	moved  int          // bytes since the last look
	heard  overlay.Time // the last segment of the peer's
	vain   bool         // it is stuck, and the manager was asked for a link
	search overlay.Time // no search before that, while it is
	rd, wr waiter
}

// circuitMemory is where circuits keep their bytes: blocks of one size, pooled, and
// what is small by itself.
type circuitMemory struct{}

var circuitBlocks = sync.Pool{New: func() any { return new([circuit.MaxBody]byte) }}

// Get implements circuit.Memory.
func (circuitMemory) Get(size int) []byte {
	if size <= 2<<10 {
		return make([]byte, 0, size)
	}
	return circuitBlocks.Get().(*[circuit.MaxBody]byte)[:0]
}

// Put implements circuit.Memory.
func (circuitMemory) Put(b []byte) {
	if cap(b) == circuit.MaxBody {
		circuitBlocks.Put((*[circuit.MaxBody]byte)(b[:circuit.MaxBody]))
	}
}

// waiter is who waits for one direction of a connection.
type waiter struct {
	news  chan struct{} // has room for one
	until time.Time     // the deadline; with the connection's lock
}

func (w *waiter) wake() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// circuitAddr is the address of an end of a circuit: the node's name.
type circuitAddr string

func (circuitAddr) Network() string  { return "circuit" }
func (a circuitAddr) String() string { return string(a) }

// dialCircuit begins a circuit to a peer. Whether it gets there shows when
// something is read.
func (r *Registry) dialCircuit(peer overlay.Peer, control, trial bool) (*circuitConn, error) {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails
	c, err := r.addCircuit(peer, binary.LittleEndian.Uint64(b[:])|1, control, true)
	if c != nil {
		c.trial = trial
	}
	return c, err
}

func (r *Registry) addCircuit(peer overlay.Peer, id uint64, control, dialer bool) (*circuitConn, error) {
	c := &circuitConn{r: r, peer: peer, id: id, control: control, end: circuit.New(dialer, circuitMemory{}), armed: overlay.Never, linger: overlay.Never}
	c.rd.news, c.wr.news = make(chan struct{}, 1), make(chan struct{}, 1)
	r.circuits.mu.Lock()
	defer r.circuits.mu.Unlock()
	if len(r.circuits.m) >= maxCircuits {
		r.count("circuits_refused")
		return nil, errors.New("channelmgr: more circuits than this node carries")
	}
	r.circuits.m[circuitKey{lifeOf(peer), id}] = c
	return c, nil
}

// circuitsTo returns the circuits to a peer.
func (r *Registry) circuitsTo(k life) (list []*circuitConn) {
	r.circuits.mu.Lock()
	defer r.circuits.mu.Unlock()
	for key, c := range r.circuits.m {
		if key.peer == k {
			list = append(list, c)
		}
	}
	return list
}

// Read implements net.Conn.
func (c *circuitConn) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		n, end := c.end.Read(p)
		dead, until := c.end.Dead(), c.rd.until
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, net.ErrClosed
		case n > 0:
			c.pump() // the peer may wait for room
			c.mu.Unlock()
			return n, nil
		}
		c.mu.Unlock()
		switch {
		case end:
			return 0, io.EOF
		case dead:
			return 0, syscall.ECONNRESET
		}
		if err := c.rd.wait(until); err != nil {
			return 0, err
		}
	}
}

// Write implements net.Conn.
func (c *circuitConn) Write(p []byte) (int, error) {
	n, err := c.Gather(&net.Buffers{p})
	return int(n), err
}

// Gather writes many buffers, in segments that are as large as they can be.
func (c *circuitConn) Gather(bufs *net.Buffers) (int64, error) {
	for total := int64(0); ; {
		n, err := c.tryGather(bufs)
		if total += n; err != nil || len(*bufs) == 0 {
			return total, err
		}
		c.mu.Lock()
		until := c.wr.until
		c.mu.Unlock()
		if err := c.wr.wait(until); err != nil {
			return total, err
		}
	}
}

// TryWrite implements transport.TryWriter.
func (c *circuitConn) TryWrite(p []byte) (int, error) {
	n, err := c.tryGather(&net.Buffers{p})
	return int(n), err
}

// tryGather writes what there is room for, and takes it off bufs.
func (c *circuitConn) tryGather(bufs *net.Buffers) (total int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.end.Dead():
		return 0, syscall.ECONNRESET
	}
	for left := *bufs; len(left) > 0; left = *bufs {
		n := c.end.Write(left[0])
		total += int64(n)
		if n < len(left[0]) {
			left[0] = left[0][n:]
			break
		}
		*bufs = left[1:]
	}
	c.pump()
	return total, nil
}

// wait waits for news or the deadline.
func (w *waiter) wait(until time.Time) error {
	if until.IsZero() {
		<-w.news
		return nil
	}
	left := time.Until(until)
	if left <= 0 {
		return os.ErrDeadlineExceeded
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-w.news:
		return nil
	case <-t.C:
		return os.ErrDeadlineExceeded
	}
}

// Close implements net.Conn: what was written is still brought to the peer, for
// a while.
func (c *circuitConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.linger = c.now().Add(lingerFor)
	c.end.Close()
	c.end.Deafen()
	c.pump()
	c.rd.wake()
	c.wr.wake()
	return nil
}

// LocalAddr implements net.Conn.
func (c *circuitConn) LocalAddr() net.Addr { return circuitAddr(c.r.Self().Name) }

// RemoteAddr implements net.Conn.
func (c *circuitConn) RemoteAddr() net.Addr { return circuitAddr(c.peer.Name) }

// SetDeadline implements net.Conn.
func (c *circuitConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *circuitConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rd.until = t
	c.rd.wake()
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *circuitConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wr.until = t
	c.wr.wake()
	return nil
}

func (c *circuitConn) now() overlay.Time { return overlay.Time(c.r.now()) }

// pump sends what is to be sent and sets the timer for what comes next. mu is
// held.
func (c *circuitConn) pump() {
	now := c.now()
	if now >= c.linger {
		c.end.Kill()
	}
	c.end.Take(now, c.send)
	switch {
	case c.lost || c.end.Stuck() && c.r.near(lifeOf(c.peer)) == nil:
		c.astray(now)
	case !c.end.Stuck():
		c.vain = false
	}
	if c.end.Dead() {
		c.rd.wake()
		c.wr.wake()
	}
	due := c.end.Due()
	if c.closed {
		if c.end.Flushed() {
			if c.timer != nil {
				c.timer.Stop()
			}
			c.r.circuits.mu.Lock()
			delete(c.r.circuits.m, circuitKey{lifeOf(c.peer), c.id})
			c.r.circuits.mu.Unlock()
			return
		}
		due = min(due, c.linger)
	}
	// A timer that fires too early sets itself anew: cheaper than to set it for each
	// segment.
	switch {
	case due == overlay.Never && c.armed != overlay.Never:
		c.timer.Stop()
	case due >= c.armed:
		return
	case c.timer == nil:
		c.timer = time.AfterFunc(due.Sub(now), c.fired)
	default:
		c.timer.Reset(due.Sub(now))
	}
	c.armed = due
}

func (c *circuitConn) fired() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = overlay.Never
	if c.r.ctx.Err() != nil {
		c.end.Kill()
	}
	c.pump()
}

// send puts a segment on its way. What finds none is lost, and comes again.
func (c *circuitConn) send(s circuit.Segment) {
	c.moved += len(s.Body)
	c.lost = !c.r.relay(frame.Relay{
		Control: c.control, Hops: 1, Circuit: c.id, Flags: s.Flags, Window: s.Window, Number: s.Number, Ack: s.Ack, More: s.More,
		From: c.r.Self(), To: c.peer, Body: s.Body,
	}, c.direct || c.end.Stuck())
}

// receive takes a segment, whose body is a view of a link's buffer.
func (c *circuitConn) receive(m frame.Relay, direct bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.direct = direct
	c.moved += len(m.Body)
	c.heard = c.now()
	room := c.end.Room()
	s := circuit.Segment{Flags: m.Flags, Number: m.Number, Ack: m.Ack, More: m.More, Window: m.Window, Body: m.Body}
	if c.end.Receive(c.heard, s) {
		c.rd.wake()
	}
	c.pump()
	if !room && c.end.Room() {
		c.wr.wake()
	}
}

// again sends anew what has not arrived: there is a way, or another than one that
// seemed to lead nowhere. If that led somewhere, what is on it arrives.
func (c *circuitConn) again(had bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if had && !c.end.Stuck() {
		return
	}
	c.end.Again()
	c.pump()
}

// astray looks for another way. When what is sent is merely in vain, nodes may be
// slow, and a search, which takes some time of each of them, makes them slower: so a
// link comes first, if the policy has it. mu is held.
func (c *circuitConn) astray(now overlay.Time) {
	switch {
	case c.trial:
		c.end.Kill()
	case c.lost:
		c.r.want(c.peer)
	case !c.vain && c.r.cfg.Routing == Adaptive:
		c.vain, c.search = true, now.Add(dialFirst)
		c.r.tell(&messages.OpenLink{Peer: nodeRef(c.peer), Index: shortcut})
	case now >= c.search:
		c.r.want(c.peer)
	}
	c.lost = false
}

// noRoute: a relay had no way on.
func (c *circuitConn) noRoute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	c.pump()
}

// await waits until a circuit that ends in order has ended, or gives it up: when
// nothing came on it for so long, and for twice the time that what is sent may take;
// or after so long when what took its place has failed.
func (c *circuitConn) await(done <-chan struct{}, failed *atomic.Bool, least time.Duration, giveUp func()) {
	for began := c.now(); ; {
		c.mu.Lock()
		left := max(c.heard, began).Add(max(least, 2*c.end.Timeout())).Sub(c.now())
		c.mu.Unlock()
		if left <= 0 || failed.Load() && c.now().Sub(began) >= least {
			giveUp()
			return
		}
		t := time.NewTimer(min(left, least))
		select {
		case <-done:
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// settled: the handshake is done.
func (c *circuitConn) settled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trial = false
}

// kill ends a circuit that leads nowhere.
func (c *circuitConn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end.Kill()
	c.pump()
}

// ended reports how many bytes moved since the last call.
func (c *circuitConn) took() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.moved
	c.moved = 0
	return n
}

// accept makes a circuit that a peer has begun; nil if there is no room for it.
func (r *Registry) acceptCircuit(m frame.Relay) *circuitConn {
	select {
	case r.handshakes <- struct{}{}:
	default:
		r.count("circuits_refused")
		return nil // it comes again
	}
	c, err := r.addCircuit(m.From, m.Circuit, m.Control, false)
	if err != nil || !r.track() {
		<-r.handshakes
		return nil
	}
	c.trial = r.cfg.Routing == Adaptive
	go func() {
		defer r.wg.Done()
		defer func() { <-r.handshakes }()
		r.welcome(c, true)
	}()
	return c
}
