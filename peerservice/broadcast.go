package peerservice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// castSubject is that of the application's broadcasts on a tree.
const castSubject = "app"

// Bounds of broadcasts, our choice.
const (
	// MaxBroadcast is the size of the largest broadcast, in bytes.
	MaxBroadcast = 4 << 20
	castPiece    = 40 << 10 // of a broadcast in one message of the tree
	castAhead    = 256      // pieces that wait for their overlay's host
	castOrigins  = 4096     // whose order is kept; the least recently heard is forgotten
	castTick     = 250 * time.Millisecond
	// castHold is how long a broadcast waits for what its origin sent before:
	// after a partition new ones come over the tree at once, and what was missed
	// comes by announcements, each of which may take some tries to be answered.
	// Of an origin that was not heard before nothing need be missing.
	castHold = 10 * time.Second
	// castSettle is how long the first broadcast of a node's new life waits for
	// those of the one before that are on their way; after that these come too
	// late.
	castSettle = 500 * time.Millisecond
	castEarly  = 16 << 20 // bytes of broadcasts that wait for their life's turn
)

// Errors of Broadcast.
var (
	ErrBroadcastTooLarge = fmt.Errorf("peerservice: a broadcast has at most %d bytes", MaxBroadcast)
	ErrBroadcastOverflow = errors.New("peerservice: broadcasts are made faster than the overlay takes them")
)

// Broadcast sends data to all members, this node included, over the broadcast
// tree of an overlay, "" for the first. Broadcasts of one node arrive in the
// order in which they were made, each at most once; none of an earlier life of
// the node comes after one of a later life. It returns when the overlay
// has a place for it, and waits for that at most as long as ctx allows:
// ErrBroadcastOverflow. Data must not be changed afterwards.
func (s *Service) Broadcast(ctx context.Context, instance string, data []byte) error {
	if len(data) > MaxBroadcast {
		return ErrBroadcastTooLarge
	}
	o := s.overlays[0]
	for _, x := range s.overlays {
		if x.ID == instance {
			o = x
		}
	}
	c := s.cast
	c.sending.Lock() // the pieces of a broadcast follow one another
	defer c.sending.Unlock()
	for first := true; first || len(data) > 0; first = false {
		select {
		case c.room <- struct{}{}:
		case <-s.stopped:
			return ErrStopped
		case <-s.failed:
			return s.Err()
		case <-ctx.Done():
			return ErrBroadcastOverflow
		}
		n := min(len(data), castPiece)
		c.seq++
		b, err := proto.Marshal(&messages.BroadcastPart{Seq: c.seq, First: first, Last: n == len(data), Data: data[:n]})
		if err != nil {
			<-c.room
			return err
		}
		data = data[n:]
		s.tellStack(o, publish{overlay.Publish{Subject: castSubject, Payload: b}, func() { <-c.room }})
	}
	return nil
}

// casting puts the broadcasts of each origin in order: an actor that keeps its
// state over a restart.
type casting struct {
	s       *Service
	sending sync.Mutex
	seq     uint64                    // of our own pieces
	room    chan struct{}             // a place for each piece that waits for its host
	back    atomic.Pointer[time.Time] // when this node last came back after a farewell

	// The actor's.
	began   time.Time
	origins map[overlay.Incarnation]*origin
	turns   map[string]*origin // by node, the life whose broadcasts are handed on
	early   int                // bytes that wait for their life's turn
	ticking bool
}

// origin is what arrives of one life of a node.
type origin struct {
	peer  overlay.Peer
	path  flow.Path
	whole []byte // of the pieces of a broadcast that is not complete
	begun bool   // its first piece was there, and none is missing since
	next  uint64 // piece
	used  time.Duration

	began overlay.Time // when the first piece came
	past  bool         // it had its turn
	early [][]byte     // what waits for its turn
}

type castTicked struct{}

func newCasting(s *Service) *casting {
	return &casting{s: s, room: make(chan struct{}, castAhead), began: time.Now(), origins: make(map[overlay.Incarnation]*origin), turns: make(map[string]*origin)}
}

// Receive implements actor.Actor.
func (c *casting) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.ticking = false
		c.tick()
	case castTicked:
		c.ticking = false
		c.tick()
	case overlay.Delivered:
		c.deliver(m)
	}
}

func (c *casting) now() overlay.Time { return overlay.Time(time.Since(c.began)) }

// before reports whether a message was published before this node came, or came
// back: then others have heard it, and this node is to hear nothing of it.
func (c *casting) before(m overlay.Delivered) bool {
	came, ok := c.s.cfg.Registry.FirstLink()
	if back := c.back.Load(); back != nil {
		came, ok = *back, true
	}
	return ok && m.Age > 0 && time.Now().Add(-m.Age).Before(came)
}

func (c *casting) deliver(m overlay.Delivered) {
	if c.before(m) {
		c.s.counters.add("broadcast_before")
		return
	}
	p := &messages.BroadcastPart{}
	if err := proto.Unmarshal(m.Payload, p); err != nil || p.GetSeq() == 0 {
		c.s.rejected(m.From, messages.ReasonMalformed)
		return
	}
	o := c.origin(overlay.Peer{Name: m.ID.Origin, Incarnation: m.ID.Incarnation})
	switch o.path.Accept(p.GetSeq(), c.now()) {
	case flow.Deliver:
		c.piece(o, p)
	case flow.Held:
		if !o.path.Hold(p.GetSeq(), len(p.GetData()), p) {
			c.s.counters.add("broadcast_dropped")
		}
	}
	c.pop(o)
	if o.waits() {
		c.tickLater()
	}
}

func (c *casting) origin(p overlay.Peer) *origin {
	o := c.origins[p.Incarnation]
	if o == nil {
		if len(c.origins) >= castOrigins {
			var oldest *origin
			for _, x := range c.origins {
				if oldest == nil || x.used < oldest.used {
					oldest = x
				}
			}
			delete(c.origins, oldest.peer.Incarnation)
			c.drop(oldest, "broadcast_dropped")
			if c.turns[oldest.peer.Name] == oldest {
				delete(c.turns, oldest.peer.Name)
			}
		}
		o = &origin{peer: p, began: c.now()}
		c.origins[p.Incarnation] = o
	}
	o.used = time.Duration(c.now())
	return o
}

func (c *casting) pop(o *origin) {
	for {
		p, ok := o.path.Pop()
		if !ok {
			return
		}
		c.piece(o, p.(*messages.BroadcastPart))
	}
}

// piece puts a broadcast together. Without one of its pieces it is lost.
func (c *casting) piece(o *origin, p *messages.BroadcastPart) {
	o.path.HoldFor = castHold
	if p.GetSeq() != o.next && o.begun {
		c.s.counters.add("broadcast_lost")
		o.begun, o.whole = false, nil
	}
	o.next = p.GetSeq() + 1
	switch {
	case p.GetFirst() && p.GetLast():
		o.begun = false
		c.hand(o, p.GetData())
		return
	case p.GetFirst():
		o.begun, o.whole = true, nil
	case !o.begun:
		return
	}
	if len(o.whole)+len(p.GetData()) > MaxBroadcast {
		c.s.rejected(o.peer, messages.ReasonTooLarge)
		o.begun, o.whole = false, nil
		return
	}
	o.whole = append(o.whole, p.GetData()...)
	if p.GetLast() {
		o.begun = false
		whole := o.whole
		o.whole = nil
		c.hand(o, whole)
	}
}

// hand hands a broadcast on when it is its life's turn.
func (c *casting) hand(o *origin, data []byte) {
	if c.turns[o.peer.Name] == o {
		c.give(o, data)
		return
	}
	o.early = append(o.early, data)
	c.early += len(data)
	c.release(o)
}

// release hands on, drops or keeps what waits for a life's turn.
func (c *casting) release(o *origin) {
	if len(o.early) == 0 {
		return
	}
	was := c.turns[o.peer.Name]
	switch c.turn(was, o) {
	case flow.Held:
		return
	case flow.Refused:
		c.drop(o, "broadcast_past_life")
		return
	}
	if was != nil {
		was.past = true
	}
	c.turns[o.peer.Name] = o
	for _, data := range o.early {
		c.early -= len(data)
		c.give(o, data)
	}
	o.early = nil
}

func (c *casting) give(o *origin, data []byte) {
	if c.s.cfg.OnBroadcast != nil {
		c.s.cfg.OnBroadcast(o.peer, data)
	}
}

// turn says whether the turn of a life has come, was the last one's, or may yet
// come: the roster knows which life of a node is its present one, soon.
func (c *casting) turn(was, o *origin) flow.Verdict {
	waited := c.now().Sub(o.began)
	m, known := c.s.Lookup(o.peer.Name)
	present := known && m.Peer.Same(o.peer)
	switch {
	case was == nil, present && (waited >= castSettle || c.early > castEarly):
		return flow.Deliver
	case o.past:
		return flow.Refused
	case present, waited < castHold && c.early <= castEarly:
		return flow.Held
	case known && m.Peer.Same(was.peer) && m.Status < roster.StatusDown: // older than that, or made up
		return flow.Refused
	}
	return flow.Deliver
}

func (c *casting) drop(o *origin, why string) {
	for _, data := range o.early {
		c.early -= len(data)
		c.s.counters.add(why)
	}
	o.early = nil
}

// tick hands on, or gives up, what has waited long enough.
func (c *casting) tick() {
	for _, o := range c.origins { // each by itself: the order plays no part
		o.path.Expire(c.now())
		c.pop(o)
		c.release(o)
		if o.waits() {
			c.tickLater()
		}
	}
}

// waits reports whether something waits for a piece that is missing, or for its
// life's turn.
func (o *origin) waits() bool {
	_, waits := o.path.Waits()
	return waits || len(o.early) > 0
}

func (c *casting) tickLater() {
	if !c.ticking {
		c.ticking = true
		time.AfterFunc(castTick, func() { c.s.root.Send(c.s.pids[castPart], castTicked{}) })
	}
}
