package channelmgr

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/messages"
)

// link is one transport connection of a session, after its handshake. Its
// reader is one goroutine; a writer exists only while there is something to
// write.
type link struct {
	id       uint64
	s        *Session
	index    uint8
	control  bool
	dialed   bool         // by us
	relayed  bool         // over a circuit
	circuit  *circuitConn // that one
	contact  string       // the address dialed for a contact
	at       string       // the address that was dialed
	known    uint64       // see overlay.LinkUp
	further  bool         // there was a session with the peer's life when it was begun
	stream   *handshake.Stream
	since    time.Duration
	previous *link // the link of the same index before this one; must be drained first
	gate     *gate // of a control link that followed another
	boss     atomic.Pointer[actor.PID]
	started  atomic.Bool
	done     chan struct{} // closed when the reader has ended

	pinged              time.Duration // the last heartbeat; the manager's
	lastRead, lastWrite atomic.Int64  // time since the registry began
	writers             sync.WaitGroup
	segs                []segment // the writer's
	bufs                [][]byte  // the writer's
	packs               packing   // the writer's

	once   sync.Once
	why    messages.Reason // valid once failed
	detail error
	failed atomic.Bool
	closed atomic.Bool // a Close was written

	epoch     uint64      // of the peer's session, once that is known; with s.mu
	shy       atomic.Bool // nothing is written on it before something comes: who dialed it may still refuse it
	leaving   atomic.Bool // nobody begins to write on it any more; set with s.mu
	finishing atomic.Bool
	finished  chan struct{} // closed when the last is written

	in inTables
}

// FirstLink returns when this node had its first link, whoever dialed: before,
// nobody can have taken it for a member. It reports false while there was none.
func (r *Registry) FirstLink() (time.Time, bool) {
	at := r.firstLink.Load()
	return r.began.Add(time.Duration(at)), at != 0
}

// fail ends the link. The first reason stays.
func (l *link) fail(why messages.Reason, err error) {
	l.once.Do(func() {
		l.why, l.detail = why, err
		l.failed.Store(true)
		l.s.r.counters.linkEnded(why)
		_ = l.stream.Close()
		l.s.unpark()
		if !l.started.Load() {
			l.start() // so that what waits for the end is told
		}
	})
}

// start lets the reader run. It is called once the manager has told the
// holders that the link is up.
func (l *link) start() {
	if l.started.CompareAndSwap(false, true) {
		tracked := l.s.r.track() // if not, its stream is closed: it ends at once
		go l.run(tracked)
	}
}

// run is the reader's goroutine at its beginning.
func (l *link) run(tracked bool) {
	if old := l.previous; old != nil {
		l.previous = nil
		if l.control {
			l.follow(old)
		} else {
			l.outwait(old) // what came on the old link is delivered first
		}
	}
	now := int64(l.s.r.now())
	l.lastRead.Store(now)
	l.lastWrite.Store(now)
	rb := new(readBuffer)
	rb.b = rb.idle[:]
	l.serve(rb, tracked)
}

// serve reads to the link's end. Once the link has come to rest it goes on in
// a goroutine of its own: a stack that has grown for the messages of a busy
// time would not shrink again.
func (l *link) serve(rb *readBuffer, tracked bool) {
	r := l.s.r
	if !l.failed.Load() {
		err := l.read(rb)
		if err == errRests {
			go l.serve(rb, tracked)
			return
		}
		rb.free()
		var fe *frameError
		if errors.As(err, &fe) {
			l.sendClose(fe.reason)
			l.fail(fe.reason, err)
		} else {
			l.fail(reasonOf(err), err)
		}
	}
	l.payReports()
	l.s.drained(l)
	if l.gate != nil {
		l.leaveGate()
	} else {
		close(l.done)
		r.linkEnded(l)
	}
	if tracked {
		r.wg.Done()
	}
}

// retire ends a link in order, after another has taken its place: what was
// written, and what is left of a message that was written in part, is brought to
// the peer, which does the same.
func (l *link) retire(rest []segment) {
	go func() {
		l.finish(rest)
		_ = l.stream.SetReadDeadline(time.Now().Add(l.s.r.cfg.Timing.WriteTimeout))
	}()
}

// finish writes the last on a link that nobody else begins to write on any more,
// after what is being written: the rest of what was written in part, and the
// Close. It returns when that is written, whoever began with it.
func (l *link) finish(rest []segment) {
	if l.finishing.Swap(true) {
		<-l.finished
		return
	}
	defer close(l.finished)
	if !l.closed.CompareAndSwap(false, true) {
		return
	}
	l.writers.Wait()
	bufs := make(net.Buffers, 0, len(rest)+1)
	for i := range rest {
		bufs = append(bufs, rest[i].b)
	}
	l.armWrite()
	if _, err := l.stream.WriteBuffers(append(bufs, frame.AppendClose(nil, frame.Close{Reason: messages.ReasonClosed}))); err != nil {
		l.fail(reasonOf(err), err)
	}
	for i := range rest {
		rest[i].release()
	}
}

// releaseSegs gives back the memory of what was written.
func (l *link) releaseSegs() {
	for i := range l.segs {
		l.segs[i].release()
	}
	l.segs = l.segs[:0]
	for _, b := range l.packs.bodies {
		b.release()
	}
	clear(l.packs.bodies)
	l.packs.bodies = l.packs.bodies[:0]
	if cap(l.segs) > 256 {
		l.segs = nil
	}
	if cap(l.bufs) > 256 {
		l.bufs = nil
	}
}

// armWrite gives the next flush a deadline.
func (l *link) armWrite() {
	_ = l.stream.SetWriteDeadline(time.Now().Add(l.s.r.cfg.Timing.WriteTimeout))
}

func (l *link) wrote() { l.lastWrite.Store(int64(l.s.r.now())) }

// reasonOf names what ended a connection.
func reasonOf(err error) messages.Reason {
	var fe *frameError
	switch {
	case err == nil:
		return messages.ReasonClosed
	case errors.As(err, &fe):
		return fe.reason
	case errors.Is(err, io.EOF):
		return messages.ReasonReset // without a Close: its process has ended
	case errors.Is(err, os.ErrDeadlineExceeded):
		return messages.ReasonTimeout
	case errors.Is(err, net.ErrClosed):
		return messages.ReasonClosed
	case errors.Is(err, syscall.ECONNREFUSED):
		return messages.ReasonRefused
	default:
		return messages.ReasonReset
	}
}

// frameError is a violation of the protocol by the peer.
type frameError struct {
	reason messages.Reason
	err    error
}

func (e *frameError) Error() string { return "channelmgr: " + string(e.reason) + ": " + e.err.Error() }
func (e *frameError) Unwrap() error { return e.err }

func badFrame(why messages.Reason, text string) error {
	return &frameError{reason: why, err: errors.New(text)}
}
