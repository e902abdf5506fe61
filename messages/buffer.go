package messages

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Buffer is a message of raw bytes, as Bytes, whose receiver may give its memory
// back: then what arrives next is put there instead of into fresh memory. It is
// sent and received as *Buffer. Who sends one must not change its bytes
// afterwards.
type Buffer struct {
	// B are the bytes; nil after Release.
	B []byte

	back  Owner // nil if the memory is the application's
	given atomic.Bool
}

// Owner takes memory back.
type Owner interface{ Reuse() }

// bufferName is the type name of *Buffer.
const bufferName = "buffer"

// Lend returns a Buffer whose memory goes back to its owner with Release.
func Lend(b []byte, back Owner) *Buffer { return &Buffer{B: b, back: back} }

// Release gives the memory back: after it nobody may use what B was, or a part of
// it. It may be called once the message has been handled, by the one actor that
// received it; what is sent on was copied when the send returned, unless it was
// sent to an actor of this node. It need not be called: then the garbage collector
// frees the memory. A second call does nothing, and neither does one for a Buffer
// that did not come from another node.
func (m *Buffer) Release() {
	if m.back == nil || !m.given.CompareAndSwap(false, true) {
		return
	}
	m.B = nil
	m.back.Reuse()
}

// Buffers of messages that came in one frame are pooled by size: powers of two
// from 1 KiB to 64 KiB.
const (
	slotMin = 10
	slotMax = 16
)

// slot is memory of one of these sizes.
type slot struct{ b []byte }

var slots [slotMax + 1]sync.Pool

// Reuse implements Owner.
func (s *slot) Reuse() { slots[bits.Len(uint(cap(s.b)))-1].Put(s) }

// lendCopy returns a Buffer with a copy of the bytes.
func lendCopy(body []byte) *Buffer {
	class := max(bits.Len(uint(max(len(body), 1)-1)), slotMin)
	if class > slotMax {
		return &Buffer{B: append([]byte(nil), body...)}
	}
	s, _ := slots[class].Get().(*slot)
	if s == nil {
		s = &slot{b: make([]byte, 1<<class)}
	}
	return Lend(s.b[:copy(s.b[:cap(s.b)], body):len(body)], s)
}

// Lends reports whether messages of the type are Buffers.
func (t *Type) Lends() bool { return t.lends }

// Raw returns the bytes of a message that is nothing but bytes that nobody will
// change or use again for something else: a message of type Bytes.
func (t *Type) Raw(msg any) ([]byte, bool) {
	if t.codec != nil || t.proto != nil {
		return nil, false
	}
	m, ok := msg.(Bytes)
	return m, ok
}
