package channelmgr

import (
	"time"

	"github.com/maquis-go/maquis/channelmgr/pacing"
)

// What counts as bulk, our choice.
const (
	bulkLink    = 16 << 10 // bytes on a link between two looks
	bulkSession = 64 << 10 // bytes on all links of a session
	lookSeldom  = 10       // times the usual pause at most, while there has been less for as many looks
)

// govern keeps the queue of the line to a peer short while data links fill it, so
// that control links and small messages do not wait in it: see package pacing. It
// ends with the last data link, and for good where the system tells nothing of links.
func (s *Session) govern() {
	if !s.r.cfg.ShortQueues || !s.governed.CompareAndSwap(false, true) || !s.r.track() {
		return
	}
	go func() {
		defer s.r.wg.Done()
		(&governor{s: s, links: make(map[*link]*flowing)}).run()
	}()
}

// governor is the shell of the pacing.Governor of one session.
type governor struct {
	s     *Session
	g     pacing.Governor
	links map[*link]*flowing
	limit float64 // of each link that carries bulk
}

// flowing is a data link as it was when it was last looked at.
type flowing struct {
	acked uint64
	limit float64
	moved uint64 // since the look before
}

func (g *governor) run() {
	r := g.s.r
	t := time.NewTimer(pacing.Interval)
	defer t.Stop()
	for last, idle := r.now(), 0; ; {
		select {
		case <-t.C:
		case <-r.ctx.Done():
			return
		}
		sample, ok := g.look()
		sample.Now = r.now()
		sample.Rate /= max(sample.Now-last, time.Millisecond).Seconds()
		last = sample.Now
		switch {
		case !ok:
			return // governed stays set: it is not tried again
		case len(g.links) == 0:
			g.s.governed.Store(false)
			if g.s.hasData() {
				g.s.govern()
			}
			return
		}
		pause := max(pacing.Interval, 3*sample.Base)
		if g.heed(sample); sample.Conns == 0 {
			idle = min(idle+1, lookSeldom)
			pause *= time.Duration(idle)
		} else {
			idle = 0
		}
		t.Reset(min(pause, time.Second))
	}
}

// look reads how the links fare; in the sample's Rate are bytes. It reports false if
// the system tells nothing of any.
func (g *governor) look() (s pacing.Sample, ok bool) {
	links := make(map[*link]*flowing)
	told := 0
	for _, l := range g.s.allLinks() {
		if l.relayed {
			continue
		}
		now, tells := l.stream.Gauge()
		if !l.control {
			f := g.links[l]
			if f == nil {
				f = &flowing{acked: now.Acked}
			}
			links[l] = f
			f.moved, f.acked = now.Acked-f.acked, now.Acked
			if tells && f.moved >= bulkLink {
				s.Rate += float64(f.moved)
				s.Conns++
				if s.Trip == 0 || now.Trip < s.Trip {
					s.Trip = now.Trip
				}
			}
		}
		if tells {
			told++
			if s.Base == 0 || now.Least < s.Base {
				s.Base = now.Least
			}
		}
	}
	g.links = links
	if s.Rate < bulkSession {
		s.Rate, s.Conns = 0, 0
	}
	return s, told > 0 || len(links) == 0
}

// heed has the links send as the governor says.
func (g *governor) heed(s pacing.Sample) {
	limit := g.g.Step(s)
	if limit > 0 && g.limit == 0 {
		g.s.r.count("trimmed")
	}
	g.limit = limit
	for l, f := range g.links {
		want := limit
		if f.moved < bulkLink {
			want = 0
		}
		if want != f.limit {
			f.limit = want
			l.stream.Limit(want)
		}
	}
}

// hasData reports whether there are data links.
func (s *Session) hasData() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.links) > 0
}
