package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Memory is a network inside one process. It works under testing/synctest:
// everything in it waits on channels only. Connections behave like TCP's: what
// is written arrives in order or the connection breaks.
type Memory struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	nextPort  int
}

// NewMemory makes an empty network.
func NewMemory() *Memory {
	return &Memory{listeners: make(map[string]*memListener), nextPort: 40000}
}

// memBuffer is how much one direction of a connection holds before its writer
// waits.
const memBuffer = 256 << 10

// Name implements Transport.
func (m *Memory) Name() string { return "memory" }

// Listen implements Transport.
func (m *Memory) Listen(_ context.Context, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("transport: listen on %q: %w", addr, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "0" {
		m.nextPort++
		port = strconv.Itoa(m.nextPort)
	}
	addr = net.JoinHostPort(host, port)
	if m.listeners[addr] != nil {
		return nil, fmt.Errorf("transport: listen on %q: %w", addr, syscall.EADDRINUSE)
	}
	l := &memListener{m: m, addr: memAddr(addr), queue: make(chan net.Conn, 128), closed: make(chan struct{})}
	m.listeners[addr] = l
	return l, nil
}

// Dial implements Transport.
func (m *Memory) Dial(ctx context.Context, addr string) (net.Conn, error) {
	m.mu.Lock()
	l := m.listeners[addr]
	m.nextPort++
	local := memAddr(net.JoinHostPort("127.0.0.1", strconv.Itoa(m.nextPort)))
	m.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memAddr(addr), Err: syscall.ECONNREFUSED}
	}
	near, far := pipePair(local, memAddr(addr))
	select {
	case l.queue <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memAddr(addr), Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memAddr(addr), Err: ctx.Err()}
	}
}

type memAddr string

func (memAddr) Network() string  { return "memory" }
func (a memAddr) String() string { return string(a) }

type memListener struct {
	m      *Memory
	addr   memAddr
	queue  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		delete(l.m.listeners, string(l.addr))
		l.m.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.queue:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

// half is one direction of a connection.
type half struct {
	mu     sync.Mutex
	buf    []byte
	err    error         // why reads end once buf is empty
	change chan struct{} // closed and replaced on every change
}

func newHalf() *half { return &half{change: make(chan struct{})} }

// changed wakes all that wait. mu is held.
func (h *half) changed() {
	close(h.change)
	h.change = make(chan struct{})
}

func (h *half) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
		h.changed()
	}
}

// memConn is one end of a connection.
type memConn struct {
	in, out       *half
	local, remote memAddr
	mu            sync.Mutex
	rd, wd        deadline
	closed        bool
}

func pipePair(a, b memAddr) (*memConn, *memConn) {
	x, y := newHalf(), newHalf()
	near := &memConn{in: x, out: y, local: a, remote: b}
	far := &memConn{in: y, out: x, local: b, remote: a}
	for _, c := range []*memConn{near, far} {
		c.rd.c, c.wd.c = make(chan struct{}), make(chan struct{})
	}
	return near, far
}

// deadline is a channel that is closed when a time has come.
type deadline struct {
	c     chan struct{}
	timer *time.Timer
}

func (d *deadline) set(mu *sync.Mutex, t time.Time) {
	mu.Lock()
	defer mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	select {
	case <-d.c:
		d.c = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	c := d.c
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			mu.Lock()
			defer mu.Unlock()
			select {
			case <-c:
			default:
				close(c)
			}
		})
	} else {
		close(c)
	}
}

func (c *memConn) deadlines() (rd, wd <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rd.c, c.wd.c
}

func (c *memConn) Read(p []byte) (int, error) {
	for {
		rd, _ := c.deadlines()
		select {
		case <-rd:
			return 0, os.ErrDeadlineExceeded
		default:
		}
		h := c.in
		h.mu.Lock()
		if len(h.buf) > 0 {
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			if len(h.buf) == 0 {
				h.buf = nil
			}
			h.changed()
			h.mu.Unlock()
			return n, nil
		}
		if h.err != nil {
			err := h.err
			h.mu.Unlock()
			return 0, err
		}
		change := h.change
		h.mu.Unlock()
		select {
		case <-change:
		case <-rd:
		}
	}
}

func (c *memConn) Write(p []byte) (int, error) {
	done := 0
	for {
		_, wd := c.deadlines()
		select {
		case <-wd:
			return done, os.ErrDeadlineExceeded
		default:
		}
		n, change, err := c.put(p[done:])
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
		select {
		case <-change:
		case <-wd:
		}
	}
}

// put writes what fits.
func (c *memConn) put(p []byte) (int, <-chan struct{}, error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case errors.Is(h.err, io.EOF):
		return 0, nil, net.ErrClosed
	case errors.Is(h.err, net.ErrClosed): // by the peer
		return 0, nil, syscall.EPIPE
	case h.err != nil:
		return 0, nil, h.err
	}
	n := min(len(p), memBuffer-len(h.buf))
	if n > 0 {
		h.buf = append(h.buf, p[:n]...)
		h.changed()
	}
	return n, h.change, nil
}

// TryWrite implements TryWriter.
func (c *memConn) TryWrite(p []byte) (int, error) {
	n, _, err := c.put(p)
	return n, err
}

// Close ends the connection in order: the peer reads what was written, then
// EOF; what the peer writes from now on breaks.
func (c *memConn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	if c.rd.timer != nil {
		c.rd.timer.Stop()
	}
	if c.wd.timer != nil {
		c.wd.timer.Stop()
	}
	c.mu.Unlock()
	c.out.fail(io.EOF)
	c.in.mu.Lock()
	c.in.buf = nil
	c.in.mu.Unlock()
	c.in.fail(net.ErrClosed)
	return nil
}

// Abort breaks the connection as a reset does: both ends fail at once.
func (c *memConn) Abort() {
	c.out.fail(syscall.ECONNRESET)
	c.in.fail(syscall.ECONNRESET)
	_ = c.Close()
}

func (c *memConn) LocalAddr() net.Addr  { return c.local }
func (c *memConn) RemoteAddr() net.Addr { return c.remote }

func (c *memConn) SetDeadline(t time.Time) error {
	c.rd.set(&c.mu, t)
	c.wd.set(&c.mu, t)
	return nil
}

func (c *memConn) SetReadDeadline(t time.Time) error  { c.rd.set(&c.mu, t); return nil }
func (c *memConn) SetWriteDeadline(t time.Time) error { c.wd.set(&c.mu, t); return nil }
