package sim

import (
	"github.com/maquis-go/maquis/overlay"
)

// Broadcast is what became of one broadcast, as the Plumtree paper measures it.
type Broadcast struct {
	// Reliability is the part of the nodes that lived at the end of it which
	// delivered it, 0 to 1.
	Reliability float64 `json:"reliability"`
	// RMR is the relative message redundancy, payloads/(deliveries-1) - 1:
	// 0 when each node received the payload once (Plumtree paper, section 4.1).
	RMR float64 `json:"rmr"`
	// LastHop is the highest hop count of a delivery (LDH in the paper).
	LastHop int `json:"last_hop"`
	// LastAt is how long after its start the last delivery came, in seconds.
	LastAt float64 `json:"last_at"`
	// Payload and Control are messages received.
	Payload uint64 `json:"payload"`
	Control uint64 `json:"control"`

	Origin    int `json:"-"`
	Delivered int `json:"-"` // by nodes that live
	Twice     int `json:"-"` // deliveries beyond the first at a node
}

// broadcasts is what the world knows of those in progress: one at a time.
type broadcasts struct {
	id      overlay.MessageID
	known   bool
	origin  int32
	began   overlay.Time
	last    overlay.Time
	hops    int
	twice   int
	reached []uint64 // a bit per life
}

func (w *World) delivered(at int32, d overlay.Delivered) {
	b := &w.bcast
	if d.Subject != "" {
		return
	}
	if !b.known && at == b.origin && d.Hops == 0 {
		b.id, b.known = d.ID, true
	}
	if !b.known || d.ID != b.id {
		return
	}
	for int(at)/64 >= len(b.reached) {
		b.reached = append(b.reached, 0)
	}
	word, bit := &b.reached[at/64], uint64(1)<<(at%64)
	if *word&bit != 0 {
		b.twice++
		return
	}
	*word |= bit
	b.hops = max(b.hops, d.Hops)
	b.last = w.now
}

// Broadcast publishes a payload at a node, settles and measures. Whatever else
// is going on in the meantime is counted with it if it is of class Payload or
// Control.
func (w *World) Broadcast(from int, payload []byte, limit overlay.Time) Broadcast {
	before := w.totals.Received
	clear(w.bcast.reached)
	w.bcast = broadcasts{origin: w.hosts[from], began: w.now, reached: w.bcast.reached}
	w.Feed(from, overlay.Publish{Payload: payload})
	w.Settle(limit.Sub(0))
	b := Broadcast{
		Origin:  from,
		LastHop: w.bcast.hops,
		Payload: w.totals.Received[Payload] - before[Payload],
		Control: w.totals.Received[Control] - before[Control],
		Twice:   w.bcast.twice,
		LastAt:  w.bcast.last.Sub(w.bcast.began).Seconds(),
	}
	live := 0
	for _, at := range w.hosts {
		if w.lives[at].dead {
			continue
		}
		live++
		if i := int(at) / 64; i < len(w.bcast.reached) && w.bcast.reached[i]&(1<<(at%64)) != 0 {
			b.Delivered++
		}
	}
	if live > 0 {
		b.Reliability = float64(b.Delivered) / float64(live)
	}
	if b.Delivered > 1 {
		b.RMR = float64(b.Payload)/float64(b.Delivered-1) - 1
	}
	return b
}

// Reached reports whether a node delivered the last broadcast.
func (w *World) Reached(i int) bool {
	at := w.hosts[i]
	return int(at)/64 < len(w.bcast.reached) && w.bcast.reached[at/64]&(1<<(at%64)) != 0
}
