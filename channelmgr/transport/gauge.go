package transport

import "time"

// Gauge is a stream of which the system tells how it fares, and that can be told to
// send no faster. Both methods are safe for concurrent use.
type Gauge interface {
	// Gauge returns what the system knows now; false where it tells nothing, or
	// where both ends are on this host and there is no line between them.
	Gauge() (Reading, bool)
	// Limit bounds how many bytes a second are sent; 0: none.
	Limit(rate float64)
}

// Reading is what the system knows of a stream.
type Reading struct {
	Trip  time.Duration // round trip now, smoothed
	Least time.Duration // the shortest round trip of the last minutes
	Acked uint64        // bytes that the peer's system has acknowledged
}

// Gauge implements Gauge.
func (c *tcpConn) Gauge() (Reading, bool) {
	if sameHost(c.LocalAddr(), c.RemoteAddr()) {
		return Reading{}, false
	}
	return gauge(c.raw)
}

// Limit implements Gauge.
func (c *tcpConn) Limit(rate float64) { limit(c.raw, rate) }
