package discovery

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsNearLimit is the size above which a message over TCP may have been cut:
// the limit is 65,535, and servers leave out whole records. Measured: of 1,000
// SRV records 936 fit, without any sign.
const dnsNearLimit = 60_000

// dnsTap opens the resolver's connections and reads along, for what the
// resolver does not tell: the least time to live, and whether answers were
// truncated.
type dnsTap struct {
	server string // "" for the one that the resolver wants

	mu     sync.Mutex
	ttl    time.Duration // 0 until an answer was read
	cut    bool
	conns  []net.Conn
	closed bool
}

// close ends what still waits for answers: the resolver's own lookups outlive
// the context of those who asked.
func (t *dnsTap) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, c := range t.conns {
		c.Close()
	}
}

func (t *dnsTap) heard() (ttl time.Duration, cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ttl, t.cut
}

func (t *dnsTap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if t.server != "" {
		var err error
		if addr, err = Address(t.server, 53); err != nil {
			return nil, err
		}
	}
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.conns = append(t.conns, c)
	closed := t.closed
	t.mu.Unlock()
	if closed {
		c.Close()
		return nil, net.ErrClosed
	}
	if u, ok := c.(*net.UDPConn); ok {
		return &tappedUDP{u, t}, nil
	}
	return &tappedTCP{Conn: c, tap: t}, nil
}

// tappedUDP is a packet connection, by which the resolver tells UDP from TCP.
type tappedUDP struct {
	*net.UDPConn
	tap *dnsTap
}

func (c *tappedUDP) Read(p []byte) (int, error) {
	n, err := c.UDPConn.Read(p)
	if err == nil {
		c.tap.see(p[:n], false)
	}
	return n, err
}

// tappedTCP puts together messages with a length of two bytes before them.
type tappedTCP struct {
	net.Conn
	tap *dnsTap
	buf []byte
}

func (c *tappedTCP) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.buf = append(c.buf, p[:n]...)
	for len(c.buf) >= 2 {
		size := int(binary.BigEndian.Uint16(c.buf))
		if len(c.buf) < 2+size {
			break
		}
		c.tap.see(c.buf[2:2+size], true)
		c.buf = c.buf[2+size:]
	}
	return n, err
}

// see reads a message; what is no answer is ignored, as the resolver does.
func (t *dnsTap) see(msg []byte, tcp bool) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || !h.Response || p.SkipAllQuestions() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut = t.cut || tcp && (h.Truncated || len(msg) > dnsNearLimit)
	for {
		rr, err := p.AnswerHeader()
		if err != nil || p.SkipAnswer() != nil {
			return
		}
		ttl := max(time.Duration(rr.TTL)*time.Second, time.Millisecond) // 0 is one too
		if t.ttl == 0 || ttl < t.ttl {
			t.ttl = ttl
		}
	}
}
