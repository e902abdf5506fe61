package channelmgr

import "sync"

// Sizes of the pooled blocks in which small frames queue up. What is queued
// first gets a small one: a heartbeat to each of a thousand peers at once must
// not take a thousand large ones.
const (
	blockSize = 64 << 10
	smallSize = 1 << 10
)

var (
	blocks      = sync.Pool{New: func() any { return new([blockSize]byte) }}
	smallBlocks = sync.Pool{New: func() any { return new([smallSize]byte) }}
)

// segment is a run of queued bytes: frames in a pooled block, or a large body
// by reference.
type segment struct {
	b       []byte
	block   *[blockSize]byte // b's memory when it is a pooled block
	small   *[smallSize]byte // or a small one
	body    *body            // released once b is written; set on a body's last piece
	frames  int              // messages that begin in b
	foreign bool             // b is (part of) a body: nothing may be appended
}

// memory is how many bytes the segment holds.
func (s *segment) memory() int {
	switch {
	case s.block != nil:
		return blockSize
	case s.small != nil:
		return smallSize
	}
	return len(s.b)
}

// release gives the segment's memory back.
func (s *segment) release() {
	s.unpool()
	if s.body != nil {
		s.body.release()
	}
	*s = segment{}
}

// unpool gives a pooled block back.
func (s *segment) unpool() {
	if s.block != nil {
		blocks.Put(s.block)
	}
	if s.small != nil {
		smallBlocks.Put(s.small)
	}
	s.block, s.small = nil, nil
}

// body is a large encoded message that several segments refer to.
type body struct {
	b       []byte
	foreign bool // b is the message itself: it is never used again
}

// bodySizes are those of pooled bodies, each with some room for what comes
// before a round number of bytes. A fresh body of megabytes costs more than what
// is done with it: its pages, and the collections that it causes, in which small
// messages wait. A pool is emptied by two collections, so that no huge message
// stays in memory.
var bodySizes = [...]int{20 << 10, 36 << 10, 72 << 10, 160 << 10, 1<<20 + 64<<10, 2<<20 + 64<<10, 4<<20 + 64<<10, 8<<20 + 64<<10, 16<<20 + 64<<10}

var bodies [len(bodySizes)]sync.Pool

// newBody returns a body with room for size bytes. Past the largest that are
// pooled it is left to the collector.
func newBody(size int) *body {
	for i, n := range bodySizes {
		if size > n {
			continue
		}
		if b, ok := bodies[i].Get().(*body); ok {
			return b
		}
		return &body{b: make([]byte, 0, n)}
	}
	return &body{b: make([]byte, 0, size)}
}

func (b *body) release() {
	if b.foreign {
		return
	}
	c := cap(b.b)
	b.b = b.b[:0]
	for i := len(bodySizes) - 1; i >= 0 && c <= 2*bodySizes[len(bodySizes)-1]; i-- {
		if c >= bodySizes[i] {
			bodies[i].Put(b)
			return
		}
	}
}

// Reuse implements messages.Owner.
func (b *body) Reuse() { b.release() }

// segments is a queue of segments. Its zero value is empty.
type segments struct {
	list  []segment
	bytes int
}

// room returns the last segment when need bytes fit behind it, or a fresh
// block.
func (q *segments) room(need int) *segment {
	if n := len(q.list); n > 0 {
		if s := &q.list[n-1]; !s.foreign && cap(s.b)-len(s.b) >= need {
			return s
		}
	}
	if len(q.list) == 0 && need <= smallSize {
		blk := smallBlocks.Get().(*[smallSize]byte)
		q.list = append(q.list, segment{b: blk[:0:smallSize], small: blk})
	} else {
		blk := blocks.Get().(*[blockSize]byte)
		q.list = append(q.list, segment{b: blk[:0:blockSize], block: blk})
	}
	return &q.list[len(q.list)-1]
}

// set stores what was appended to a segment that room returned. A frame that
// outgrew its block left it for memory of its own.
func (q *segments) set(s *segment, b []byte) {
	q.bytes += len(b) - len(s.b)
	if cap(b) != cap(s.b) {
		s.unpool()
	}
	s.b = b
}

// refer queues a piece of a body.
func (q *segments) refer(b []byte, last *body) {
	q.list = append(q.list, segment{b: b, body: last, foreign: true})
	q.bytes += len(b)
}

// take moves segments of up to limit bytes, at least one, to the end of dst.
// It never cuts between a frame's head and the body that follows by reference.
func (q *segments) take(dst []segment, limit int) []segment {
	n, size := 0, 0
	for n < len(q.list) && (n == 0 || q.list[n].foreign || size+len(q.list[n].b) <= limit) {
		size += len(q.list[n].b)
		n++
	}
	dst = append(dst, q.list[:n]...)
	rest := copy(q.list, q.list[n:])
	clear(q.list[rest:])
	q.list = q.list[:rest]
	q.bytes -= size
	return dst
}

// drop releases everything queued.
func (q *segments) drop() {
	for i := range q.list {
		q.list[i].release()
	}
	q.list, q.bytes = nil, 0
}
