package scenario

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/sim"
	"github.com/maquis-go/maquis/peerservice/route"
)

// way is a flow between two lives.
type way struct{ from, to overlay.Incarnation }

// flows drives both ends of flows over routes, with the code that nodes use.
type flows struct {
	*traffic
	senders   map[way]*flow.Sender
	receivers map[way]*flow.Path
	peers     map[overlay.Incarnation]overlay.Peer
	delivered map[way]uint64
	last      map[way]uint64
	reported  map[way]uint64 // lost, as the sender was told

	onDelivered func(k way, text string)
}

// item is a message that is held.
type item struct {
	seq  uint64
	text string
}

// The kinds of bodies: a message with its number, and a report.
const (
	bodyMessage = iota
	bodyUpdate
)

func newFlows(t *testing.T, n int) *flows {
	f := &flows{
		senders: map[way]*flow.Sender{}, receivers: map[way]*flow.Path{}, peers: map[overlay.Incarnation]overlay.Peer{},
		delivered: map[way]uint64{}, last: map[way]uint64{}, reported: map[way]uint64{},
	}
	f.traffic = newTraffic(t, n)
	f.onArrived = f.arrive
	return f
}

// say sends the next message of a flow.
func (f *flows) say(from, to int, text string) {
	a, b := f.w.Peer(from), f.w.Peer(to)
	k := way{a.Incarnation, b.Incarnation}
	f.peers[k.from], f.peers[k.to] = a, b
	if f.senders[k] == nil {
		f.senders[k] = &flow.Sender{}
	}
	body := binary.BigEndian.AppendUint64([]byte{bodyMessage}, f.senders[k].Take())
	body = append(body, text...)
	f.next++
	f.w.Feed(from, overlay.Command{Order: route.Send{To: b, ID: f.next, Body: body}})
}

func (f *flows) arrive(w *sim.World, node int, m route.Arrived) {
	self := w.Peer(node)
	n := func(i int) uint64 { return binary.BigEndian.Uint64(m.Body[1+8*i:]) }
	if m.Body[0] == bodyUpdate {
		k := way{self.Incarnation, m.From.Incarnation}
		_, lost := f.senders[k].Update(flow.Update{Next: n(0), Credit: n(1), Lost: n(2)})
		f.reported[k] += lost
		return
	}
	k := way{m.From.Incarnation, self.Incarnation}
	p := f.receivers[k]
	if p == nil {
		p = &flow.Path{}
		f.receivers[k] = p
		var tick func()
		tick = func() { // reports, and what waits for too long
			if !w.Alive(node) || w.Peer(node) != self {
				return
			}
			p.Expire(w.Now())
			f.pop(k, p)
			u := p.Update(flow.InitialWindow)
			body := []byte{bodyUpdate}
			for _, x := range []uint64{u.Next, u.Credit, u.Lost} {
				body = binary.BigEndian.AppendUint64(body, x)
			}
			f.next++
			w.Feed(node, overlay.Command{Order: route.Send{To: f.peers[k.from], ID: f.next, Body: body}})
			w.After(time.Second, tick)
		}
		w.After(time.Second, tick)
	}
	x := item{n(0), string(m.Body[9:])}
	switch p.Accept(x.seq, w.Now()) {
	case flow.Deliver:
		f.deliver(k, x)
	case flow.Held:
		p.Hold(x.seq, len(m.Body), x)
	}
	f.pop(k, p)
}

func (f *flows) pop(k way, p *flow.Path) {
	for {
		x, ok := p.Pop()
		if !ok {
			return
		}
		f.deliver(k, x.(item))
	}
}

// deliver checks what an actor would see: each message at most once, in order.
func (f *flows) deliver(k way, x item) {
	require.Greater(f.t, x.seq, f.last[k], "out of turn")
	f.last[k] = x.seq
	f.delivered[k]++
	if f.onDelivered != nil {
		f.onDelivered(k, x.text)
	}
}

// Messages from any node to any other, over relays, while nodes crash and come
// back: each is delivered at most once and in order, and what is not is counted
// at both ends.
func TestFlowsOverRelaysUnderChurn(t *testing.T) {
	long(t)
	const n = 80
	f := newFlows(t, n)
	type pair struct{ from, to int }
	var pairs []pair
	for range 60 {
		from, to := f.pair()
		pairs = append(pairs, pair{from, to})
	}
	down := map[int]bool{}
	for round := range 80 {
		for _, p := range pairs {
			if f.w.Alive(p.from) && f.w.Alive(p.to) {
				for range 3 {
					f.say(p.from, p.to, "")
				}
			}
		}
		f.w.Run(250 * time.Millisecond)
		if round%8 == 2 {
			i := 1 + f.rng.IntN(n-1)
			f.w.Crash(i)
			down[i] = true
		}
		if round%8 == 6 {
			for i := range n {
				if down[i] {
					delete(down, i)
					f.w.Restart(i)
					f.w.Join(i, 0)
				}
			}
		}
	}
	// A last message on each flow shows what is missing before it.
	for range 3 {
		for _, p := range pairs {
			if f.w.Alive(p.from) && f.w.Alive(p.to) {
				f.say(p.from, p.to, "")
			}
		}
		f.w.Run(10 * time.Second)
	}
	require.NoError(t, f.w.Err())
	var taken, delivered, lost, open uint64
	live := map[overlay.Incarnation]bool{}
	for _, i := range f.w.Live() {
		live[f.w.Peer(i).Incarnation] = true
	}
	for k, s := range f.senders {
		if !live[k.from] || !live[k.to] {
			continue
		}
		from, to := s.Unconfirmed()
		r := f.receivers[k]
		require.NotNil(t, r)
		require.Equal(t, r.Next()-1, f.delivered[k]+r.Lost(), "the receiver's account")
		require.Equal(t, s.Next()-1, f.delivered[k]+f.reported[k]+(to-from), "the sender's account")
		taken, delivered, lost, open = taken+s.Next()-1, delivered+f.delivered[k], lost+f.reported[k], open+to-from
	}
	t.Logf("%d flows between lives that are there: %d messages, %d delivered, %d told to be lost, %d open", len(f.senders), taken, delivered, lost, open)
	require.Greater(t, delivered, taken*9/10)
	require.Zero(t, open)
}
