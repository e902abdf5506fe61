package channelmgr

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// Sizes of compression, our choice.
const (
	packChunk = 128 << 10 // so much is compressed together, at most
	packLeast = 1 << 10   // less is not worth it
	// packPause is how many chunks are left as they are after one that did not
	// become smaller by an eighth: it costs little to look at one of 16.
	packPause = 15
)

// codecNames are the compressions as a hello names them.
var codecNames = map[Compression]string{S2: "s2", Zstd: "zstd"}

// packers are a node's zstd coders, made when they are first needed. Each node
// has its own: they hold channels, which must not leave a bubble of synctest.
type packers struct {
	once    sync.Once
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func (k *packers) init() {
	k.once.Do(func() {
		// These options are valid: no error can come.
		k.encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
			zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		k.decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(frame.MaxPacked), zstd.WithDecoderMaxWindow(frame.MaxPacked))
	})
}

// packing is what a link's writer keeps of compression.
type packing struct {
	theirs [3]bool // the compressions that the peer understands
	pause  int     // chunks that are still left as they are
	out    []segment
	gather []byte
	bodies []*body // of what was packed; earlier pieces of them may be written as they are
}

// understands notes what the peer's hello says.
func (k *packing) understands(codecs []string) {
	for _, name := range codecs {
		for c, n := range codecNames {
			if n == name {
				k.theirs[c] = true
			}
		}
	}
}

// pack compresses what is about to be written, a lane's frames, in chunks. What
// does not become smaller stays as it is.
func (l *link) pack(c Compression, st *channelCounters) {
	if !l.packs.theirs[c] {
		return
	}
	k := &l.packs
	k.out = k.out[:0]
	rest := l.segs
	if len(rest) > 0 && rest[0].foreign && !isMessage(rest[0].b) { // definitions: they come first and once
		k.out, rest = append(k.out, rest[0]), rest[1:]
	}
	for len(rest) > 0 {
		n, size := chunk(rest)
		if packed, ok := l.packChunk(c, rest[:n], size, st); ok {
			k.out = append(k.out, packed)
			for i := range rest[:n] {
				if b := rest[i].body; b != nil {
					k.bodies, rest[i].body = append(k.bodies, b), nil
				}
				rest[i].release()
			}
		} else {
			k.out = append(k.out, rest[:n]...)
		}
		rest = rest[n:]
	}
	l.segs, k.out = k.out, l.segs[:0]
	clear(k.out[:cap(k.out)])
}

// isMessage reports whether a frame is (a piece of) a message.
func isMessage(raw []byte) bool {
	k := frame.Kind(raw[4])
	return k == frame.KindData || k == frame.KindPiece
}

// chunk returns how many segments are compressed together, and their size. A
// frame's head and the body that follows by reference stay together.
func chunk(segs []segment) (n, size int) {
	for n < len(segs) {
		unit, next := len(segs[n].b), n+1
		if frame.Len(segs[n].b) > unit { // a head
			unit += len(segs[next].b)
			next++
		}
		if n > 0 && size+unit > packChunk {
			break
		}
		n, size = next, size+unit
	}
	return n, size
}

// packChunk makes one packed frame of segments, if that is worth it.
func (l *link) packChunk(c Compression, segs []segment, size int, st *channelCounters) (segment, bool) {
	k := &l.packs
	if size < packLeast || size > frame.MaxPacked {
		return segment{}, false
	}
	if k.pause > 0 {
		k.pause--
		return segment{}, false
	}
	src := segs[0].b
	if len(segs) > 1 {
		src = k.gather[:0]
		for i := range segs {
			src = append(src, segs[i].b...)
		}
		k.gather = src[:0]
	}
	out := newBody(frame.PackedHead + s2.MaxEncodedLen(size))
	switch c {
	case S2:
		out.b = frame.AppendPacked(out.b, frame.PackS2, size)
		room := out.b[len(out.b):cap(out.b)]
		out.b = out.b[:len(out.b)+len(s2.Encode(room, src))]
	case Zstd:
		pk := &l.s.r.packers
		pk.init()
		out.b = pk.encoder.EncodeAll(src, frame.AppendPacked(out.b, frame.PackZstd, size))
	}
	if len(out.b) > size-size/8 {
		out.release()
		k.pause = packPause
		return segment{}, false
	}
	frame.Finish(out.b, 0)
	st.unpacked.Add(uint64(size))
	st.packed.Add(uint64(len(out.b)))
	return segment{b: out.b, body: out, foreign: true}, true
}

// onPacked takes frames that were compressed together.
func (l *link) onPacked(raw []byte) error {
	if l.in.packed {
		return badFrame(messages.ReasonBadFrame, "a packed frame within one")
	}
	p, err := frame.ParsePacked(raw)
	if err != nil {
		return asFrameError(err)
	}
	buf := bigBuffers.Get().(*[frame.MaxData + busyBuffer]byte)
	defer bigBuffers.Put(buf)
	b, err := l.s.r.packers.unpack(p, buf[:0:frame.MaxPacked])
	if err != nil {
		return badFrame(messages.ReasonBadFrame, err.Error())
	}
	ahead := l.in.ahead
	l.in.packed = true
	defer func() { l.in.packed, l.in.ahead = false, ahead }()
	for len(b) > 0 {
		raw, n, err := frame.Next(b, frame.MaxData)
		switch {
		case err != nil:
			return asFrameError(err)
		case n == 0:
			return badFrame(messages.ReasonBadFrame, "a part of a frame within a packed one")
		}
		b = b[n:]
		l.in.ahead = ahead + len(b)
		if err := l.frame(raw); err != nil {
			return err
		}
	}
	return nil
}

var errPackedSize = errors.New("a packed frame that does not unpack to the size that it declares")

// unpack decompresses into dst, which has room for what was declared. A body
// that says anything else than the frame's head is refused before it is
// decompressed.
func (k *packers) unpack(p frame.Packed, dst []byte) ([]byte, error) {
	switch p.Codec {
	case frame.PackS2:
		if n, err := s2.DecodedLen(p.Body); err != nil || n != p.Size {
			return nil, errPackedSize
		}
		b, err := s2.Decode(dst[:p.Size], p.Body)
		if err != nil || len(b) != p.Size {
			return nil, fmt.Errorf("a packed frame of s2: %w", err)
		}
		return b, nil
	default:
		var h zstd.Header
		if err := h.Decode(p.Body); err != nil || !h.HasFCS || h.FrameContentSize != uint64(p.Size) {
			return nil, errPackedSize
		}
		k.init()
		b, err := k.decoder.DecodeAll(p.Body, dst[:0:p.Size])
		if err != nil || len(b) != p.Size {
			return nil, fmt.Errorf("a packed frame of zstd: %w", errors.Join(err, errPackedSize))
		}
		return b, nil
	}
}
