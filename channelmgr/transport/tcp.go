package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// TCP is the transport of real networks. Its zero value is ready.
type TCP struct {
	// From is the IP address from which dials are made, on a host with several;
	// "" leaves the choice to the system.
	From string
}

// paced is the size of the socket buffers of a paced connection within one
// host, and unsent how much of what was written to one over a network waits in
// the kernel to be sent, in bytes.
const (
	paced  = 128 << 10
	unsent = 256 << 10
)

// Pacer is a stream whose buffers can be made small. Small buffers pace a bulk
// transfer, so that it does not own the machine and small messages on other
// links are not held up; a link of many small messages is faster with the
// system's own.
type Pacer interface{ Pace() }

// Times after which the kernel gives up on a peer that does not answer, so
// that a half-open connection is found in seconds.
const (
	keepIdle     = 5 * time.Second
	keepInterval = time.Second
	keepCount    = 3
	userTimeout  = 10 * time.Second
)

// Name implements Transport.
func (TCP) Name() string { return "tcp" }

// Listen implements Transport.
func (t TCP) Listen(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return tcpListener{ln, t}, nil
}

// Dial implements Transport.
func (t TCP) Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	if t.From != "" {
		ip := net.ParseIP(t.From)
		if ip == nil {
			return nil, fmt.Errorf("transport: TCP.From %q is no IP address", t.From)
		}
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return t.tune(c)
}

type tcpListener struct {
	net.Listener
	t TCP
}

func (l tcpListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.t.tune(c)
}

// tune sets the options of a connection.
func (t TCP) tune(c net.Conn) (net.Conn, error) {
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepIdle, Interval: keepInterval, Count: keepCount})
	raw, err := tc.SyscallConn()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	setUserTimeout(raw, userTimeout)
	tcp := &tcpConn{TCPConn: tc, raw: raw}
	tcp.try = tcp.tryOnce
	return tcp, nil
}

// tcpConn adds a write that never blocks.
type tcpConn struct {
	*net.TCPConn
	raw syscall.RawConn
	try func(fd uintptr) bool // made once, so that TryWrite does not allocate
	p   []byte
	n   int
	err error
}

// Pace implements Pacer. Fixed buffers would also fix the window, and a network
// with a round trip needs one of its rate times that: there the system finds the
// window, and only what it has not sent yet is bounded.
func (c *tcpConn) Pace() {
	if !sameHost(c.LocalAddr(), c.RemoteAddr()) {
		setUnsent(c.raw, unsent)
		return
	}
	_ = c.SetReadBuffer(paced)
	_ = c.SetWriteBuffer(paced)
}

// sameHost reports whether both ends of a connection are on this host, as far as
// addresses tell.
func sameHost(a, b net.Addr) bool {
	x, ok1 := a.(*net.TCPAddr)
	y, ok2 := b.(*net.TCPAddr)
	return ok1 && ok2 && (x.IP.IsLoopback() || x.IP.Equal(y.IP))
}

// TryWrite implements TryWriter with one non-blocking system call. The deadline
// of a write before, which has passed meanwhile, means nothing to it.
func (c *tcpConn) TryWrite(p []byte) (int, error) {
	c.p, c.n, c.err = p, 0, nil
	err := c.raw.Write(c.try)
	if errors.Is(err, os.ErrDeadlineExceeded) && c.SetWriteDeadline(time.Time{}) == nil {
		err = c.raw.Write(c.try)
	}
	n := c.n
	c.p = nil
	if err == nil {
		err = c.err
	}
	return n, err
}

func (c *tcpConn) tryOnce(fd uintptr) bool {
	n, err := writeFD(fd, c.p)
	c.n = max(n, 0)
	if err != nil && err != syscall.EAGAIN && err != syscall.EINTR {
		c.err = err
	}
	return true // never wait for the socket to become writable
}

// Gather writes many buffers with one system call.
func (c *tcpConn) Gather(bufs *net.Buffers) (int64, error) { return bufs.WriteTo(c.TCPConn) }
