package main

import (
	"net"
	"sync"
	"time"
)

// probe sends a byte there and back over a bare TCP connection of the link's own
// process: what the line and the kernel do to a small message, without the
// nodes.
type probe struct {
	near, far net.Conn
	mu        sync.Mutex
	took      []float64 // ms
}

// every is the pause between two of its round trips.
const every = 5 * time.Millisecond

// run runs until the connection is closed.
func (p *probe) run() {
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := p.far.Read(b); err != nil {
				return
			}
			if _, err := p.far.Write(b); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 1)
	for {
		at := time.Now()
		if _, err := p.near.Write(b); err != nil {
			return
		}
		if _, err := p.near.Read(b); err != nil {
			return
		}
		p.mu.Lock()
		p.took = append(p.took, float64(time.Since(at))/1e6)
		p.mu.Unlock()
		time.Sleep(every)
	}
}

// end ends it and returns what it has seen.
func (p *probe) end() (p50, p99 float64) {
	_ = p.near.Close()
	_ = p.far.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	return quantiles(p.took)
}
