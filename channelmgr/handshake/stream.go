package handshake

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

// Stream is an authenticated byte stream. One goroutine may read and one may
// write at a time; Close may be called by any.
//
// TLS cuts its input into records and writes each by itself. The stream puts
// the records of one write together beneath TLS, so that a flush is one
// system call.
type Stream struct {
	conn  net.Conn
	try   transport.TryWriter // conn, if it can
	tls   *tls.Conn           // nil in mode insecure
	under *collector
	kept  []byte // taken by TryWrite and not written yet
	once  sync.Once
}

// collector lies between TLS and the connection. The lock is for the reader,
// on which TLS may answer a peer's wish for new keys.
type collector struct {
	net.Conn
	mu  sync.Mutex
	on  bool
	out []byte
}

// collect puts what TLS writes into buf from now on.
func (c *collector) collect(buf []byte) {
	c.mu.Lock()
	c.on, c.out = true, buf
	c.mu.Unlock()
}

// collected returns what TLS wrote. With more, collecting goes on behind it.
func (c *collector) collected(more bool) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	if more {
		c.out = c.out[:0]
	} else {
		c.on, c.out = false, nil
	}
	return out
}

// collectors' buffers are pooled: an idle stream holds none.
var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 80<<10); return &b }}

func (c *collector) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.on {
		c.out = append(c.out, p...)
		c.mu.Unlock()
		return len(p), nil
	}
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func newStream(conn net.Conn) *Stream {
	s := &Stream{conn: conn}
	s.try, _ = conn.(transport.TryWriter)
	return s
}

func (s *Stream) secure(wrap func(net.Conn) *tls.Conn) {
	s.under = &collector{Conn: s.conn}
	s.tls = wrap(s.under)
}

// checkName binds a node's name to its certificate in ModeMTLS.
func (s *Stream) checkName(sec *Security, node string) error {
	if sec.mode != ModeMTLS {
		return nil
	}
	certs := s.tls.ConnectionState().PeerCertificates
	if len(certs) == 0 || !sec.nameInCertificate(certs[0], node) {
		return &Error{Reason: messages.ReasonCertificate, Err: fmt.Errorf("the name %q is not in the peer's certificate; add the URI maquis://%s/%s or the DNS name %s to it", node, sec.cluster, node, node)}
	}
	return nil
}

// Read reads what has arrived, waiting for at least a byte.
func (s *Stream) Read(p []byte) (int, error) {
	if s.tls != nil {
		return s.tls.Read(p)
	}
	return s.conn.Read(p)
}

// Write writes all of p, waiting as long as the write deadline allows.
func (s *Stream) Write(p []byte) (int, error) {
	if _, err := s.WriteBuffers(net.Buffers{p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteBuffers writes all buffers after what TryWrite kept: gathered in one
// system call on a plain connection, record by record and then in one call
// through TLS.
func (s *Stream) WriteBuffers(bufs net.Buffers) (int64, error) {
	if err := s.Flush(); err != nil {
		return 0, err
	}
	if s.tls == nil {
		return s.plain(bufs)
	}
	var total int64
	pooled := outBuffers.Get().(*[]byte)
	s.under.collect((*pooled)[:0])
	size := 0
	for _, b := range bufs {
		for len(b) > 0 {
			n := min(len(b), 64<<10)
			if _, err := s.tls.Write(b[:n]); err != nil {
				s.release(pooled, s.under.collected(false))
				return total, err
			}
			b = b[n:]
			total += int64(n)
			if size += n; size >= 64<<10 {
				size = 0
				if _, err := s.conn.Write(s.under.collected(true)); err != nil {
					s.release(pooled, s.under.collected(false))
					return total, err
				}
			}
		}
	}
	out := s.under.collected(false)
	_, err := s.conn.Write(out)
	s.release(pooled, out)
	return total, err
}

// release gives a collecting buffer back to the pool.
func (s *Stream) release(pooled *[]byte, out []byte) {
	if cap(out) <= 256<<10 {
		*pooled = out[:0]
	}
	outBuffers.Put(pooled)
}

// plain gathers: net.Buffers uses writev only on the connection types of
// package net, so a wrapper must say so.
func (s *Stream) plain(bufs net.Buffers) (int64, error) {
	if u, ok := s.conn.(interface {
		Gather(*net.Buffers) (int64, error)
	}); ok {
		return u.Gather(&bufs)
	}
	return bufs.WriteTo(s.conn)
}

// TryWrite takes all of p without ever blocking: what the connection does not
// take at once is kept and goes first with the next Flush or Write. It
// returns how many bytes are kept.
func (s *Stream) TryWrite(p []byte) (pending int, err error) {
	out := p
	if s.tls != nil {
		pooled := outBuffers.Get().(*[]byte)
		s.under.collect((*pooled)[:0])
		_, err := s.tls.Write(p)
		out = s.under.collected(false)
		defer s.release(pooled, out)
		if err != nil {
			return 0, err
		}
	}
	n := 0
	if len(s.kept) == 0 && s.try != nil {
		if n, err = s.try.TryWrite(out); err != nil {
			return 0, err
		}
	}
	if n < len(out) {
		s.kept = append(s.kept, out[n:]...)
	}
	return len(s.kept), nil
}

// Pending returns how many bytes TryWrite kept.
func (s *Stream) Pending() int { return len(s.kept) }

// Flush writes what TryWrite kept.
func (s *Stream) Flush() error {
	if len(s.kept) == 0 {
		return nil
	}
	_, err := s.conn.Write(s.kept)
	s.kept = nil
	return err
}

// Close closes the connection at once. It is idempotent.
func (s *Stream) Close() error {
	var err error
	s.once.Do(func() { err = s.conn.Close() })
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// SetWriteDeadline bounds the next writes.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.conn.SetWriteDeadline(t) }

// SetReadDeadline bounds the next reads.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

// Pace makes the connection's buffers small, if it can; see transport.Pacer.
func (s *Stream) Pace() {
	if p, ok := s.conn.(transport.Pacer); ok {
		p.Pace()
	}
}

// Gauge returns how the connection fares, if the system tells; see transport.Gauge.
func (s *Stream) Gauge() (transport.Reading, bool) {
	if g, ok := s.conn.(transport.Gauge); ok {
		return g.Gauge()
	}
	return transport.Reading{}, false
}

// Limit bounds how many bytes a second the connection sends, if it can; 0: none.
func (s *Stream) Limit(rate float64) {
	if g, ok := s.conn.(transport.Gauge); ok {
		g.Limit(rate)
	}
}

// RemoteAddr is where the peer's end is.
func (s *Stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }
